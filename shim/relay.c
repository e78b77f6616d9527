/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/deputy_link.h"
#include "shim/signals.h"
#include "shim/witness.h"

enum { MOST_ASKED = 5 };

struct state {
  struct relay* relay;
  struct message message;
  struct witness witness;
  pid_t deputy;
  int signals; /* signalfd */
  struct signalfd_siginfo heard[64]; /* read from it, and not passed on yet */
  size_t heard_count;
  int stop;    /* the last signal of those that stop that was passed on */
  bool started, ended;
  int asked;   /* how often the job was stopped for the terminal since somebody continued it */
  bool orphan; /* nobody could continue our group, so the kernel does not stop it */
  enum relay_end end;
  int status;
  struct reason* why;
};

static void finish(struct state* state, enum relay_end end, int status) {
  state->ended = true;
  state->end = end;
  state->status = status;
}

static void go_home(struct state* state, const char* why) {
  because(state->why, "%s", why);
  terminal_release(state->relay->terminal);
  if (state->started)
    put_back(&state->relay->caller->descriptors, state->message.fds, state->message.fd_count);
  finish(state, RELAY_HOME, 0);
}

/* For our own lines we keep stderr: we don't outlive the job. */
static void start(struct state* state) {
  if (state->started) return;
  state->started = true;
  int own_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
  say_on(own_stderr);
  close_descriptors(&state->relay->caller->descriptors);
  if (state->signals < 0) return state->relay->started(state->relay->context);
  sigset_t set = forwarded_signals(state->relay->caller, true);
  signalfd(state->signals, &set, 0);
  sigprocmask(SIG_BLOCK, &set, NULL);
  state->relay->started(state->relay->context);
}

static void job_exited(struct state* state) {
  struct handover_exited exited;
  if (state->message.length < sizeof exited) return finish(state, RELAY_STATUS, STATUS_FAILED);
  memcpy(&exited, state->message.body, sizeof exited);
  const char* typed = state->message.body + sizeof exited;
  if (exited.typed > state->message.length - sizeof exited) exited.typed = 0;
  terminal_end(state->relay->terminal, typed, exited.typed, exited.taken);
  const char* text = typed + exited.typed;
  if (state->relay->verbose && *text) say("%s", text);
  end_witness(&state->witness);
  if (WIFSIGNALED(exited.wait_status)) {
    die_by(WTERMSIG(exited.wait_status));
    return finish(state, RELAY_STATUS, 128 + WTERMSIG(exited.wait_status));
  }
  finish(state, RELAY_STATUS, WEXITSTATUS(exited.wait_status));
}

static void job_failed(struct state* state) {
  int32_t status = STATUS_FAILED;
  if (state->message.length >= sizeof status) memcpy(&status, state->message.body, sizeof status);
  terminal_end(state->relay->terminal, NULL, 0, UINT64_MAX);
  say("%s",
      state->message.length > sizeof status ? state->message.body + sizeof status : "the deputy failed");
  finish(state, RELAY_STATUS, status);
}

static void job_placed(struct state* state) {
  int printed = printf("%s\n", state->message.body);
  finish(state, RELAY_STATUS, printed < 0 || fflush(stdout) ? STATUS_FAILED : 0);
}

static void deputy_gone(struct state* state) {
  if (!state->started) return go_home(state, "the deputy hung up: see its log");
  terminal_end(state->relay->terminal, NULL, 0, UINT64_MAX);
  say("the deputy died");
  finish(state, RELAY_STATUS, STATUS_FAILED);
}

static bool is_stop(int number) {
  return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

/* The job's group has the foreground of its terminal when ours has it here. */
static void tell_front(struct state* state) {
  struct terminal* terminal = state->relay->terminal;
  const bool front = terminal_front(terminal) || (state->orphan && terminal->tty >= 0);
  if (front == terminal->front) return;
  terminal->front = front;
  const int32_t yes = front;
  tell(state->relay->link, HANDOVER_FOREGROUND, &yes, sizeof yes);
}

static void go_on(struct state* state) {
  const struct handover_signal signal = {SIGCONT, HANDOVER_TO_GROUP};
  tell_front(state);
  tell(state->relay->link, HANDOVER_SIGNAL, &signal, sizeof signal);
}

/* Meanwhile the deputy has said that it goes on, or has ended; who has stopped would not hear of that. */
static bool is_stopped_no_more(const struct state* state) {
  struct handover_header next;
  return recv(state->relay->link, &next, sizeof next, MSG_PEEK | MSG_DONTWAIT) == sizeof next &&
         (next.kind == HANDOVER_STOPPED || next.kind == HANDOVER_EXITED || next.kind == HANDOVER_FAILED ||
          next.kind == HANDOVER_HOME);
}

/* By the same signal as the job, so that who waits for us sees it. What a program does at a terminal when it stops by itself
 * (vim's ^Z), it does to its whole group; the members of ours that are at home must stop too. The kernel does not stop an
 * orphaned process group, and at home it would not have stopped the job: then it goes on at once. */
static void stop_as_job(struct state* state, int number) {
  if (is_stopped_no_more(state)) return;
  terminal_show(state->relay->terminal); /* the ^Z too */
  terminal_release(state->relay->terminal);
  const bool by_itself = state->stop != number;
  state->stop = 0;
  if (!is_stop(number)) {
    raise(SIGSTOP);
    return; /* nothing but SIGCONT ends that, and it is passed on like any other signal */
  }
  if (by_itself && state->relay->terminal->tty >= 0) kill(0, number);
  act_by_default(number);
  sigset_t pending;
  if (!sigpending(&pending) && sigismember(&pending, SIGCONT) == 1) return;
  state->orphan = true;
  go_on(state);
}

static void job_stopped(struct state* state) {
  int32_t number = 0;
  if (state->message.length < sizeof number) return;
  memcpy(&number, state->message.body, sizeof number);
  /* Who asks again and again although it is given the foreground is in a group that has it at home neither. */
  const bool asks = (number == SIGTTIN || number == SIGTTOU) && state->asked++ < MOST_ASKED;
  if (asks && terminal_wanted(state->relay->terminal))
    go_on(state);
  else if (number != SIGCONT)
    stop_as_job(state, number);
}

static void job_set_modes(struct state* state) {
  struct handover_modes modes;
  if (state->message.length < sizeof modes) return;
  memcpy(&modes, state->message.body, sizeof modes);
  terminal_modes(state->relay->terminal, &modes);
}

static void take_message(struct state* state) {
  const bool is_there = receive(state->relay->link, &state->message);
  if (is_there && state->message.kind == HANDOVER_WAITING) return say_for_now(state->message.body);
  say_for_now("");
  if (!is_there) return deputy_gone(state);
  switch (state->message.kind) {
    case HANDOVER_HOME:
      return go_home(state, state->message.body);
    case HANDOVER_EXITED:
      return job_exited(state);
    case HANDOVER_FAILED:
      return job_failed(state);
    case HANDOVER_PLACED:
      return job_placed(state);
    case HANDOVER_STARTED:
      return start(state);
    case HANDOVER_STDERR_CLOSED:
      return say_nowhere();
    case HANDOVER_STOPPED:
      return job_stopped(state);
    case HANDOVER_MODES:
      return job_set_modes(state);
    case HANDOVER_WARNING:
      return say("%s", state->message.body);
    default:
      return; /* of a newer deputy */
  }
}

static void take_messages(struct state* state) {
  struct pollfd link = {state->relay->link, POLLIN, 0};
  while (!state->ended && poll(&link, 1, 0) > 0) take_message(state);
}

/* Whom it was meant for. A key of the terminal means the job's foreground group there, which may be another one than its
 * leader's. */
static enum handover_to meant_for(struct state* state, const struct signalfd_siginfo* info) {
  const bool group = sent_to_group(&state->witness, (int)info->ssi_signo);
  if (info->ssi_code == SI_KERNEL && group && state->relay->terminal->tty >= 0) return HANDOVER_TO_FOREGROUND;
  return group ? HANDOVER_TO_GROUP : HANDOVER_TO_LEADER;
}

static void pass_on(struct state* state, const struct signalfd_siginfo* info) {
  const int number = (int)info->ssi_signo;
  const enum handover_to to = meant_for(state, info);
  if (number == SIGWINCH && state->relay->terminal->tty >= 0) {
    struct handover_window window;
    terminal_describe(state->relay->terminal, NULL, &window);
    tell(state->relay->link, HANDOVER_WINDOW, &window, sizeof window);
    if (info->ssi_code == SI_KERNEL) return; /* its terminal will tell the job */
  }
  if (is_stop(number)) state->stop = number;
  if (number == SIGCONT) state->asked = 0;
  if (number == SIGCONT) tell_front(state); /* before it tries again what it was stopped for */
  const struct handover_signal signal = {number, to};
  tell(state->relay->link, HANDOVER_SIGNAL, &signal, sizeof signal);
}

/* What is not for the job: signals of our own doing. */
static bool is_ours(const struct state* state, const struct signalfd_siginfo* info) {
  const pid_t from = (pid_t)info->ssi_pid;
  return (info->ssi_signo == SIGPIPE && from == getpid()) ||
         (info->ssi_signo == SIGCHLD && from == state->witness.pid) ||
         (info->ssi_signo == SIGCONT && from == state->deputy) || /* the job has been continued already */
         (is_stop((int)info->ssi_signo) && from == getpid());
}

/* The descriptor gives them in the order of their numbers. But whoever is continued goes on at once, whatever else came while he
 * stood still: should the job stop at that, SIGCONT must not come behind and continue it once more. (The kernel's own, of a
 * terminal that hangs up, keeps its place.) */
static bool next_signal(struct state* state, struct signalfd_siginfo* next) {
  if (state->heard_count == 0) {
    const ssize_t got = read(state->signals, state->heard, sizeof state->heard);
    state->heard_count = got < 0 ? 0 : (size_t)got / sizeof *state->heard;
  }
  if (state->heard_count == 0) return false;
  size_t at = 0;
  for (size_t i = 0; i < state->heard_count && at == 0; i++)
    if (state->heard[i].ssi_signo == SIGCONT && state->heard[i].ssi_code != SI_KERNEL) at = i;
  *next = state->heard[at];
  memmove(state->heard + at, state->heard + at + 1, (--state->heard_count - at) * sizeof *next);
  return true;
}

static void take_signal(struct state* state) {
  struct signalfd_siginfo info;
  if (!next_signal(state, &info)) return;
  /* Whoever sent it may have seen the job's first output: the deputy's word of the start was sent before
   * that. */
  if (!state->started) take_messages(state);
  if (state->ended) return; /* too late for the job */
  if (is_ours(state, &info)) return;
  if (!state->started) say_for_now("");
  if (!state->started)
    act_by_default((int)info.ssi_signo);
  else
    pass_on(state, &info);
}

static void turn(struct state* state) {
  struct terminal* terminal = state->relay->terminal;
  struct pollfd wants[4] = {
      {state->relay->link, POLLIN, 0}, {state->signals, POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}};
  int timeout = state->started ? terminal_wants(terminal, wants + 2) : -1;
  if (state->heard_count > 0) timeout = 0;
  if (state->started) tell_front(state);
  if (poll(wants, 4, timeout) < 0) return; /* EINTR */
  if (wants[0].revents) take_message(state);
  if (!state->ended && (wants[1].revents || state->heard_count > 0)) take_signal(state);
  if (state->ended || !state->started || terminal->tty < 0) return;
  if (!terminal_pump(terminal, wants + 2)) tell(state->relay->link, HANDOVER_HANGUP, NULL, 0);
}

static void meet_deputy(struct state* state) {
  struct ucred deputy = {0};
  socklen_t size = sizeof deputy;
  getsockopt(state->relay->link, SOL_SOCKET, SO_PEERCRED, &deputy, &size);
  state->deputy = deputy.pid;
}

/* The deputy says so within some hundred microseconds when it need not ask anybody. A witness, which is another process, would
 * take as long again; and as no job runs yet, nobody's signals have to be told apart. */
static bool is_home_at_once(int link) {
  struct pollfd answer = {link, POLLIN, 0};
  struct handover_header header;
  return poll(&answer, 1, 1) > 0 && recv(link, &header, sizeof header, MSG_PEEK | MSG_DONTWAIT) == sizeof header &&
         header.kind == HANDOVER_HOME;
}

enum relay_end relay_job(struct relay* relay, struct reason* why, int* status) {
  struct state state = {.relay = relay, .why = why};
  sigset_t set = forwarded_signals(relay->caller, false);
  state.signals = lift(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  /* Without it signals do to us what they do by default, and the job ends with us. */
  if (state.signals < 0) release_signals(relay->caller);
  meet_deputy(&state);
  state.witness.channel = -1;
  if (!is_home_at_once(relay->link)) start_witness(&state.witness, relay->terminal->tty);
  relay->terminal->witness = &state.witness;
  const int32_t witness = state.witness.pid;
  if (witness) tell(relay->link, HANDOVER_WITNESS, &witness, sizeof witness);
  while (!state.ended) turn(&state);
  end_witness(&state.witness);
  *status = state.status;
  if (state.end != RELAY_HOME) return state.end;
  for (size_t i = 0; i < state.heard_count; i++) raise((int)state.heard[i].ssi_signo); /* for who runs now */
  release_signals(relay->caller);
  return state.end;
}
