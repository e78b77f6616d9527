/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/deputy_link.h"

enum { FOREGROUND_MS = 100, CR_MS = 5, LAST_MS = 2000 };

/* A terminal that doesn't control us lets everybody read: tcgetpgrp fails. */
static bool in_foreground(int tty) {
  pid_t group = tcgetpgrp(tty);
  return group < 0 || group == getpgrp();
}

/* A description of our own, so that O_NONBLOCK doesn't reach the other holders. */
static int open_again(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int again = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return lift(again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

static bool has(const struct descriptors* descriptors, uint32_t number) {
  for (uint32_t i = 0; i < descriptors->count; i++)
    if (descriptors->list[i].number == number) return descriptors->list[i].terminal;
  return false;
}

static void set_modes(struct handover_modes* to, const struct termios* from) {
  *to = (struct handover_modes){from->c_iflag, from->c_oflag, from->c_cflag, from->c_lflag, {0}};
  for (size_t i = 0; i < HANDOVER_CHARACTERS && i < NCCS; i++) to->characters[i] = from->c_cc[i];
}

void terminal_open(struct terminal* terminal, const struct descriptors* descriptors) {
  terminal->tty = terminal->channel = terminal->peer = -1;
  terminal->held = terminal->after_cr = terminal->refused = false;
  terminal->witness = NULL;
  terminal->typed = terminal->sent = terminal->shown = terminal->written = 0;
  int number = terminal_number(descriptors), ends[2];
  if (number < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return;
  terminal->channel = lift(ends[0]);
  terminal->peer = lift(ends[1]);
  fcntl(terminal->channel, F_SETFL, O_NONBLOCK);
  terminal->tty = open_again(number);
  terminal->sent_ever = 0;
  /* In a pipeline another member may be the one that reads it (cc 2>&1 | less): then not before the job asks for it. */
  terminal->reads = has(descriptors, 0) && has(descriptors, 1);
  tcgetattr(terminal->tty, &terminal->before);
  set_modes(&terminal->job, &terminal->before);
  terminal->front = terminal_front(terminal);
}

bool terminal_front(struct terminal* terminal) {
  return terminal->tty >= 0 && terminal->reads && in_foreground(terminal->tty);
}

void terminal_describe(const struct terminal* terminal, struct handover_modes* modes,
                       struct handover_window* window) {
  struct winsize size = {0};
  if (modes) *modes = terminal->job;
  ioctl(terminal->tty, TIOCGWINSZ, &size);
  *window = (struct handover_window){size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};
}

/* Waits for what is still to be shown only when it would be shown otherwise: output that was stopped (^S) may wait for ever. */
static void set(int tty, const struct termios* modes) {
  struct termios now;
  if (tcgetattr(tty, &now) || !memcmp(&now, modes, sizeof now)) return;
  tcsetattr(tty, now.c_oflag == modes->c_oflag ? TCSANOW : TCSADRAIN, modes);
}

/* Keys that send signals do so here as long as they would at the job's terminal. */
static void apply(struct terminal* terminal) {
  struct termios ours = terminal->before;
  const struct handover_modes* job = &terminal->job;
  if (terminal->reads) {
    ours.c_iflag = job->input & IUTF8;
    ours.c_lflag = (ours.c_lflag & (tcflag_t) ~(ICANON | ECHO | ECHOE | ECHOK | ECHONL | IEXTEN | ISIG)) |
                   (job->local & (ISIG | NOFLSH));
    for (const int* it = (const int[]){VINTR, VQUIT, VSUSP, -1}; *it >= 0; it++)
      ours.c_cc[*it] = job->characters[*it];
    ours.c_cc[VMIN] = 1;
    ours.c_cc[VTIME] = 0;
  }
  ours.c_oflag = job->output;
  set(terminal->tty, &ours);
}

static void take(struct terminal* terminal) {
  if (tcgetattr(terminal->tty, &terminal->before)) return;
  terminal->held = true;
  remember_modes(terminal->witness, &terminal->before);
  apply(terminal);
}

void terminal_release(struct terminal* terminal) {
  if (!terminal->held) return;
  terminal->held = false;
  set(terminal->tty, &terminal->before);
  remember_modes(terminal->witness, NULL);
}

void terminal_modes(struct terminal* terminal, const struct handover_modes* modes) {
  terminal->job = *modes;
  if (terminal->held) apply(terminal);
}

bool terminal_wanted(struct terminal* terminal) {
  if (terminal->tty < 0 || !in_foreground(terminal->tty)) return false;
  terminal->reads = true;
  if (terminal->held) apply(terminal);
  return true;
}

int terminal_wants(struct terminal* terminal, struct pollfd wants[2]) {
  wants[0] = wants[1] = (struct pollfd){-1, 0, 0};
  if (terminal->tty < 0) return -1;
  const bool ours = in_foreground(terminal->tty);
  if (ours && !terminal->held) take(terminal);
  if (!ours && terminal->held) { /* whoever has it now sets it as it likes */
    terminal->held = false;
    remember_modes(terminal->witness, NULL);
  }
  const bool to_read = ours && terminal->reads && terminal->sent == terminal->typed;
  const short input = to_read ? POLLIN : 0, output = terminal->written < terminal->shown ? POLLOUT : 0;
  wants[0] = (struct pollfd){terminal->tty, (short)(input | output), 0};
  wants[1] = (struct pollfd){terminal->channel,
                             (short)((terminal->sent < terminal->typed && !terminal->refused ? POLLOUT : 0) |
                                     (terminal->written == terminal->shown ? POLLIN : 0)),
                             0};
  if (!wants[1].events) wants[1].fd = -1;
  return terminal->after_cr ? CR_MS : FOREGROUND_MS;
}

/* The remote terminal put \r before each \n, and the one here will do so again. */
static size_t uncook(struct terminal* terminal, char* bytes, size_t length) {
  const uint32_t both = OPOST | ONLCR;
  if ((terminal->job.output & both) != both) return length;
  size_t kept = 0;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == '\n' && kept > 0 && bytes[kept - 1] == '\r') kept--;
    bytes[kept++] = bytes[i];
  }
  return kept;
}

/* A \r at the end of what came waits a little for the \n that may follow it. */
static void show(struct terminal* terminal) {
  char* at = terminal->out;
  size_t held_back = 0;
  if (terminal->after_cr) at[held_back++] = '\r';
  ssize_t got = recv(terminal->channel, at + held_back, sizeof terminal->out - held_back, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  size_t length = held_back + (got > 0 ? (size_t)got : 0);
  terminal->after_cr = got > 0 && at[length - 1] == '\r';
  if (terminal->after_cr) length--;
  terminal->written = 0;
  terminal->shown = uncook(terminal, at, length);
  if (got > 0) return;
  close(terminal->channel); /* the deputy has no more */
  terminal->channel = -1;
}

static void show_cr(struct terminal* terminal) {
  terminal->after_cr = false;
  terminal->out[0] = '\r';
  terminal->written = 0;
  terminal->shown = 1;
}

static void write_out(struct terminal* terminal) {
  if (terminal->written == terminal->shown) return;
  ssize_t done = write(terminal->tty, terminal->out + terminal->written, terminal->shown - terminal->written);
  if (done > 0)
    terminal->written += (size_t)done;
  else if (errno != EAGAIN && errno != EINTR)
    terminal->written = terminal->shown; /* nobody sees it any more */
}

/* False: hung up. */
static bool read_in(struct terminal* terminal) {
  ssize_t length = read(terminal->tty, terminal->in, sizeof terminal->in);
  /* EIO: we went to the background meanwhile (SIGTTIN is blocked), or the terminal is gone. */
  if (length < 0) return errno == EINTR || errno == EAGAIN || (errno == EIO && !in_foreground(terminal->tty));
  if (length == 0) return false;
  terminal->sent = 0;
  terminal->typed = (size_t)length;
  return true;
}

static void send_in(struct terminal* terminal) {
  if (terminal->sent == terminal->typed || terminal->channel < 0 || terminal->refused) return;
  ssize_t done = send(terminal->channel, terminal->in + terminal->sent, terminal->typed - terminal->sent,
                      MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done < 0 && errno != EAGAIN && errno != EINTR) terminal->refused = true;
  for (ssize_t i = 0; i < done; i++)
    terminal->recent[terminal->sent_ever++ % sizeof terminal->recent] = terminal->in[terminal->sent++];
}

bool terminal_pump(struct terminal* terminal, const struct pollfd got[2]) {
  bool there = true;
  if (got[0].revents & (POLLHUP | POLLERR | POLLNVAL)) there = false;
  if (there && got[0].revents & POLLIN) there = read_in(terminal);
  if (got[1].revents & (POLLIN | POLLHUP))
    show(terminal);
  else if (terminal->after_cr && terminal->written == terminal->shown)
    show_cr(terminal);
  write_out(terminal);
  send_in(terminal);
  if (!there) {
    close(terminal->tty);
    close(terminal->channel); /* what comes is for nobody: the deputy must not wait for us to take it */
    terminal->tty = terminal->channel = -1;
    terminal->held = false;
  }
  return there;
}

void terminal_show(struct terminal* terminal) {
  if (terminal->tty < 0) return;
  struct pollfd wants[2];
  for (int left = 1; left;) {
    write_out(terminal);
    if (terminal->written < terminal->shown) {
      wants[0] = (struct pollfd){terminal->tty, POLLOUT, 0};
      if (poll(wants, 1, LAST_MS) <= 0) break;
      continue;
    }
    if (terminal->channel < 0) break;
    wants[1] = (struct pollfd){terminal->channel, POLLIN, 0};
    left = poll(wants + 1, 1, 0) > 0;
    if (left) show(terminal);
  }
  if (terminal->after_cr) show_cr(terminal);
  write_out(terminal);
}

/* Whether `typed` is what we sent last before `taken`. The guest says it, and it must not type into this terminal: what is typed
 * again are our own bytes, or nothing. \r may have become \n there. */
static bool was_typed(const struct terminal* terminal, const char* typed, size_t length, uint64_t taken) {
  if (length > taken || terminal->sent_ever - taken + length > sizeof terminal->recent) return false;
  for (size_t i = 0; i < length; i++) {
    const char ours = terminal->recent[(taken - length + i) % sizeof terminal->recent];
    if (typed[i] != ours && !(typed[i] == '\n' && ours == '\r')) return false;
  }
  return true;
}

/* What was typed after that must not stand before what is typed again. */
static void read_rest(struct terminal* terminal) {
  struct pollfd more = {terminal->tty, POLLIN, 0};
  while (terminal->typed < sizeof terminal->in && poll(&more, 1, 0) > 0 && more.revents & POLLIN) {
    ssize_t got = read(terminal->tty, terminal->in + terminal->typed, sizeof terminal->in - terminal->typed);
    if (got <= 0) return;
    terminal->typed += (size_t)got;
  }
}

/* Kernels that forbid it: tty(4), TIOCSTI. */
static void type_again(int tty, char byte) {
  ioctl(tty, TIOCSTI, &byte);
}

void terminal_end(struct terminal* terminal, const char* typed, size_t length, uint64_t taken) {
  if (terminal->tty < 0) return;
  terminal_show(terminal);
  if (terminal->held && terminal->reads && in_foreground(terminal->tty)) read_rest(terminal);
  terminal_release(terminal);
  if (!in_foreground(terminal->tty)) return;
  if (taken > terminal->sent_ever) taken = terminal->sent_ever;
  if (terminal->sent_ever - taken > sizeof terminal->recent)
    taken = terminal->sent_ever - sizeof terminal->recent;
  if (was_typed(terminal, typed, length, taken)) taken -= length;
  for (uint64_t i = taken; i < terminal->sent_ever; i++)
    type_again(terminal->tty, terminal->recent[i % sizeof terminal->recent]);
  for (size_t i = terminal->sent; i < terminal->typed; i++) type_again(terminal->tty, terminal->in[i]);
}
