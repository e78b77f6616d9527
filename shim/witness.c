/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/deputy_link.h"

enum { ANSWER_MS = 200 }; /* a witness that somebody has stopped does not answer */

struct witness_page {
  volatile bool remembered;
  struct termios modes;
};

struct answer {
  unsigned char signals[65]; /* how many of each came since the last question */
};

/* ps(1) and pidof(8) must not take it for the command. execve(2) lays the environment out behind the arguments. */
static void be_named(void) {
  prctl(PR_SET_NAME, "ssirun-witness");
  char* front = program_invocation_name;
  if (environ && environ[0] > front) memset(front, 0, (size_t)(environ[0] - front));
}

static struct answer take_signals(void) {
  struct answer answer = {{0}};
  sigset_t all;
  sigfillset(&all);
  int number;
  while ((number = sigtimedwait(&all, NULL, &(struct timespec){0, 0})) > 0)
    if (answer.signals[number] < 255) answer.signals[number]++;
  return answer;
}

static _Noreturn void watch(int channel, int tty, const struct witness_page* page) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  be_named();
  prctl(PR_SET_PDEATHSIG, SIGCONT); /* also one that is stopped must see the end */
  char question;
  for (;;) {
    ssize_t got = read(channel, &question, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    struct answer answer = take_signals();
    if (write(channel, &answer, sizeof answer) < 0) break;
  }
  /* In whatever group the terminal is now: it was ours when ssirun died. */
  if (page && page->remembered && tty >= 0) tcsetattr(tty, TCSANOW, &page->modes);
  _exit(0);
}

/* It holds none of the caller's descriptors, nor the link to the deputy, which tells of ssirun's end. */
static void keep_only(int a, int b) {
  const int kept[2] = {a < b ? a : b, a < b ? b : a};
  unsigned from = 0;
  for (int i = 0; i < 2; i++) {
    if (kept[i] < 0) continue;
    if ((unsigned)kept[i] > from) close_range(from, (unsigned)kept[i] - 1, 0);
    from = (unsigned)kept[i] + 1;
  }
  close_range(from, ~0u, 0);
}

void start_witness(struct witness* witness, int tty) {
  *witness = (struct witness){.channel = -1};
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) return;
  void* page =
      mmap(NULL, sizeof(struct witness_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  witness->page = page == MAP_FAILED ? NULL : page;
  witness->channel = lift(ends[0]);
  const int theirs = lift(ends[1]);
  witness->pid = fork();
  if (witness->pid == 0) {
    keep_only(theirs, tty);
    watch(theirs, tty, witness->page);
  }
  close(theirs);
  if (witness->pid > 0) return;
  witness->pid = 0;
  end_witness(witness);
}

void end_witness(struct witness* witness) {
  if (witness->channel >= 0) close(witness->channel);
  witness->channel = -1;
  if (witness->pid <= 0) return;
  kill(witness->pid, SIGKILL);
  waitpid(witness->pid, NULL, 0);
  witness->pid = 0;
}

bool sent_to_group(struct witness* witness, int number) {
  struct answer answer;
  struct pollfd wait = {witness->channel, POLLIN, 0};
  if (witness->channel >= 0 && send(witness->channel, "?", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
    poll(&wait, 1, ANSWER_MS);
  while (witness->channel >= 0 &&
         recv(witness->channel, &answer, sizeof answer, MSG_DONTWAIT) == sizeof answer)
    for (size_t i = 0; i < sizeof answer.signals; i++) witness->group_signals[i] += answer.signals[i];
  if (!witness->group_signals[number]) return false;
  witness->group_signals[number]--;
  return true;
}

void remember_modes(struct witness* witness, const struct termios* modes) {
  if (!witness->page) return;
  witness->page->remembered = false;
  if (!modes) return;
  witness->page->modes = *modes;
  witness->page->remembered = true;
}
