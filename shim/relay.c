/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/deputy_link.h"
#include "shim/signals.h"

struct state {
  struct relay* relay;
  struct message message;
  int signals; /* signalfd */
  bool started, ended;
  enum relay_end end;
  int status;
  struct reason* why;
};

static void finish(struct state* state, enum relay_end end, int status) {
  state->ended = true;
  state->end = end;
  state->status = status;
}

/* Puts back what came home, in ascending order, where ours were closed. */
static void restore_stdio(struct state* state) {
  int next = 0;
  for (int fd = 0; fd <= 2 && next < state->message.fd_count; fd++) {
    if (!(state->relay->caller->open_mask & 1u << fd)) continue;
    int came = state->message.fds[next++];
    if (fd == 0 && state->relay->terminal->tty >= 0)
      dup2(state->relay->terminal->tty, 0); /* the pipe that stood for it is no use at home */
    else if (state->started)
      dup2(came, fd);
    close(came);
  }
}

static void go_home(struct state* state, const char* why) {
  because(state->why, "%s", why);
  restore_stdio(state);
  finish(state, RELAY_HOME, 0);
}

/* From now on the job alone holds the streams, or a reader would not see their end, nor a writer SIGPIPE. For
 * our own lines we keep stderr: we don't outlive the job. */
static void start(struct state* state) {
  if (state->started) return;
  state->started = true;
  int own_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
  say_on(own_stderr);
  for (int fd = 0; fd <= 2; fd++) close(fd);
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
  const char* text = state->message.body + sizeof exited;
  if (state->relay->verbose && *text) say("%s", text);
  if (WIFSIGNALED(exited.wait_status)) {
    die_by(WTERMSIG(exited.wait_status));
    return finish(state, RELAY_STATUS, 128 + WTERMSIG(exited.wait_status));
  }
  finish(state, RELAY_STATUS, WEXITSTATUS(exited.wait_status));
}

static void job_failed(struct state* state) {
  int32_t status = STATUS_FAILED;
  if (state->message.length >= sizeof status) memcpy(&status, state->message.body, sizeof status);
  say("%s",
      state->message.length > sizeof status ? state->message.body + sizeof status : "the deputy failed");
  finish(state, RELAY_STATUS, status);
}

static void job_placed(struct state* state) {
  int printed = printf("%s\n", state->message.body);
  finish(state, RELAY_STATUS, printed < 0 || fflush(stdout) ? STATUS_FAILED : 0);
}

static void deputy_gone(struct state* state) {
  if (!state->started) return go_home(state, "the deputy died");
  say("the deputy died");
  finish(state, RELAY_STATUS, STATUS_FAILED);
}

static void take_message(struct state* state) {
  if (!receive(state->relay->link, &state->message)) return deputy_gone(state);
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

static bool is_stop(int number) {
  return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

/* The job first, then ourselves. By the same signal, not SIGSTOP: the kernel does not stop an orphaned
 * process group, and at home it would not have stopped this one. Then the job goes on at once. */
static void stop_with_job(struct state* state, int number) {
  send_signal(state->relay->link, number);
  act_by_default(number);
  sigset_t pending;
  if (sigpending(&pending) || sigismember(&pending, SIGCONT) != 1) send_signal(state->relay->link, SIGCONT);
}

static void take_signal(struct state* state) {
  struct signalfd_siginfo info;
  if (read(state->signals, &info, sizeof info) != sizeof info) return;
  const int number = (int)info.ssi_signo;
  if (number == SIGPIPE && (pid_t)info.ssi_pid == getpid())
    return; /* of our own writing to the terminal's pipe */
  /* Whoever sent it may have seen the job's first output: the deputy's word of the start was sent before
   * that. */
  if (!state->started) take_messages(state);
  if (!state->started) {
    act_by_default(number);
  } else if (state->ended) {
    return; /* too late for the job */
  } else if (is_stop(number)) {
    stop_with_job(state, number);
  } else {
    send_signal(state->relay->link, number);
  }
}

static void turn(struct state* state) {
  struct pollfd wants[4] = {
      {state->relay->link, POLLIN, 0}, {state->signals, POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}};
  int timeout = state->started ? terminal_wants(state->relay->terminal, wants + 2) : -1;
  if (poll(wants, 4, timeout) < 0) return; /* EINTR */
  if (wants[0].revents) take_message(state);
  if (!state->ended && wants[1].revents) take_signal(state);
  if (!state->ended && (wants[2].revents || wants[3].revents))
    terminal_pump(state->relay->terminal, wants + 2);
}

enum relay_end relay_job(struct relay* relay, struct reason* why, int* status) {
  struct state state = {.relay = relay, .why = why};
  sigset_t set = forwarded_signals(relay->caller, false);
  state.signals = lift(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  /* Without it signals do to us what they do by default, and the job ends with us. */
  if (state.signals < 0) release_signals(relay->caller);
  while (!state.ended) turn(&state);
  *status = state.status;
  if (state.end == RELAY_HOME) release_signals(relay->caller);
  return state.end;
}
