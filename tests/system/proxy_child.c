// SPDX-License-Identifier: LGPL-2.1-or-later
// The scripted child of the property test (proxy_property.cc): its arguments are what it does, one after the other, and what it sees
// it appends to the file "trace", a line each. The file "member" is the trace of a second process of its group, which only listens.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int trace;
static volatile sig_atomic_t seen[65];

__attribute__((format(printf, 1, 2))) static void say(const char* format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (write(trace, line, (size_t)length) != length)
    _exit(99);  // one write a line: the caller counts lines while we run
}

static void open_trace(const char* name) {
  const int opened = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  trace = fcntl(opened, F_DUPFD_CLOEXEC, 60);  // out of the way of closed streams
  if (trace < 0) _exit(98);
  close(opened);
}

static void note(int number) {
  seen[number]++;
}

// A trapped signal is blocked but while we wait for one, so that none is missed and each has its place in the order.
static void trap(int number) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_BLOCK, &one, NULL);
  struct sigaction action = {.sa_handler = note};
  sigfillset(&action.sa_mask);
  sigaction(number, &action, NULL);
}

static void dispose(int number, void (*how)(int)) {
  signal(number, how);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static void say_seen(void) {
  for (int number = 1; number < 65; number++)
    for (; seen[number]; seen[number]--) say("signal %d\n", number);
}

static void await(int number) {
  sigset_t none;
  sigemptyset(&none);
  while (!seen[number]) sigsuspend(&none);
  say_seen();
}

static void member(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  open_trace("member");
  const int heard[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
                       SIGUSR2, SIGALRM, SIGWINCH, SIGURG,  SIGPIPE};
  for (size_t i = 0; i < sizeof heard / sizeof *heard; i++) trap(heard[i]);
  for (int stream = 0; stream < 3; stream++) close(stream);
  say("ready\n");
  sigset_t none;
  sigemptyset(&none);
  while (1) {
    sigsuspend(&none);
    say_seen();
  }
}

static uint32_t digest(uint32_t so_far, const unsigned char* bytes, size_t length) {  // FNV-1a
  for (size_t i = 0; i < length; i++) so_far = (so_far ^ bytes[i]) * 16777619U;
  return so_far;
}

// So many bytes, not one more: the rest must still be there for whoever reads next.
static void read_stdin(size_t wanted) {
  unsigned char bytes[4096];
  uint32_t sum = 2166136261U;
  size_t got = 0;
  while (got < wanted) {
    const size_t room = wanted - got < sizeof bytes ? wanted - got : sizeof bytes;
    const ssize_t now = read(0, bytes, room);
    if (now <= 0) {
      say("read %zu %08x then %s\n", got, sum, now ? strerror(errno) : "end");
      return;
    }
    sum = digest(sum, bytes, (size_t)now);
    got += (size_t)now;
  }
  say("read %zu %08x\n", got, sum);
}

static void write_stream(int stream, size_t length) {
  static unsigned char bytes[200000];
  for (size_t i = 0; i < length; i++) bytes[i] = (unsigned char)(i * 7 + length + (size_t)stream);
  for (size_t done = 0; done < length;) {
    const ssize_t now = write(stream, bytes + done, length - done);
    if (now < 0) {
      say("write %d: %s\n", stream, strerror(errno));
      return;
    }
    done += (size_t)now;
  }
  say("wrote %d %zu\n", stream, length);
}

// Whoever read has gone: the first write may not know it yet.
static void write_until_error(int stream) {
  while (write(stream, "x", 1) > 0) usleep(1000);
  say("write %d: %s\n", stream, strerror(errno));
}

static void stop(int number) {
  kill(getpid(), number);
  say("on\n");
}

static void act(const char* what) {
  const char verb = what[0];
  char* rest = NULL;
  const int first = (int)strtol(what + 1, &rest, 10);
  const int second = *rest ? (int)strtol(rest + 1, NULL, 10) : 0;
  switch (verb) {
    case 'r':
      read_stdin((size_t)first);
      return;
    case 'w':
      write_stream(first, (size_t)second);
      return;
    case 'p':
      write_until_error(first);
      return;
    case 'c':
      say("close %d: %s\n", first, close(first) ? strerror(errno) : "done");
      return;
    case 't':
      trap(first);
      break;
    case 'i':
      dispose(first, SIG_IGN);
      break;
    case 'd':
      dispose(first, SIG_DFL);
      break;
    case 'a':
      await(first);
      return;
    case 's':
      stop(first);
      return;
    case 'k':
      kill(getpid(), first);
      break;
    case 'x':
      exit(first);
    default:
      exit(97);
  }
  say("%s\n", what);
}

int main(int argc, char** argv) {
  open_trace("trace");
  trap(SIGUSR2);
  if (fork() == 0) member();
  say("ready\n");
  for (int i = 1; i < argc; i++) act(argv[i]);
  return 0;
}
