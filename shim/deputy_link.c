/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/deputy_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASSED = HANDOVER_DESCRIPTORS + 1 }; /* the channel too */

union control { /* aligned as cmsg(3) wants it */
  struct cmsghdr header;
  char bytes[CMSG_SPACE(PASSED * sizeof(int))];
};

int lift(int fd) {
  if (fd < 0 || fd > 2) return fd;
  int lifted = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int error = errno;
  close(fd);
  errno = error;
  return lifted;
}

static size_t strings_size(char* const strings[], uint32_t count) {
  size_t size = 0;
  for (uint32_t i = 0; i < count; i++) size += strlen(strings[i]) + 1;
  return size;
}

static char* put(char* at, const char* text) {
  return stpcpy(at, text ? text : "") + 1;
}

/* Sends it all; the descriptors ride on the first byte. While it waits, signals are as the caller had them: a
 * deputy that hangs must not make us deaf. */
static bool send_all(int link, const char* bytes, size_t length, const int* fds, unsigned fd_count,
                     const sigset_t* waiting) {
  union control control = {0};
  while (length) {
    struct iovec piece = {(void*)(uintptr_t)bytes, length};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    if (fd_count) {
      header.msg_control = control.bytes;
      header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
      control.header = (struct cmsghdr){
          .cmsg_len = CMSG_LEN(fd_count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
      memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
    }
    ssize_t sent = sendmsg(link, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
      ppoll(&(struct pollfd){link, POLLOUT, 0}, 1, NULL, waiting);
      continue;
    }
    if (sent <= 0) return false;
    fd_count = 0;
    bytes += sent;
    length -= (size_t)sent;
  }
  return true;
}

static uint32_t run_flags(const struct options* options, const struct caller* caller) {
  return (options->remote ? HANDOVER_REMOTE : 0u) | (options->dry_run ? HANDOVER_DRY_RUN : 0u) |
         (options->verbose ? HANDOVER_VERBOSE : 0u) | (options->wait ? HANDOVER_WAIT : 0u) |
         (options->exec_path ? HANDOVER_DIVERTED : 0u) | (caller->cwd ? HANDOVER_HAS_CWD : 0u) |
         (caller->group_leader ? HANDOVER_GROUP_LEADER : 0u);
}

static struct handover_run run_of(const struct options* options, const struct caller* caller, uint32_t argc,
                                  uint32_t strings) {
  struct handover_run run = {.version = HANDOVER_VERSION,
                             .flags = run_flags(options, caller),
                             .argc = argc,
                             .envc = caller->environment_count,
                             .strings = strings,
                             .descriptors = caller->descriptors.count,
                             .umask_ = caller->umask,
                             .nice_ = caller->nice,
                             .cpus = options->cpus,
                             .retries = options->retries,
                             .memory = options->memory,
                             .wait_seconds = options->wait_seconds,
                             .blocked = signal_bits(&caller->blocked),
                             .ignored = signal_bits(&caller->ignored)};
  memcpy(run.limits, caller->limits, sizeof run.limits);
  return run;
}

/* The caller's descriptors, and the channel behind them. */
static unsigned to_pass(const struct caller* caller, const struct terminal* terminal, int fds[PASSED]) {
  unsigned count = 0;
  for (uint32_t i = 0; i < caller->descriptors.count; i++)
    fds[count++] = (int)caller->descriptors.list[i].number;
  if (terminal->peer >= 0) fds[count++] = terminal->peer;
  return count;
}

bool send_run(int link, const struct options* options, const struct caller* caller, const char* path,
              struct terminal* terminal, struct reason* why) {
  const char* fixed[] = {path, caller->cwd, options->guest, getenv("SSI_CONFIG"), getenv("SSI_SCHEDULER")};
  enum { FIXED = sizeof fixed / sizeof *fixed };
  uint32_t argc = 0;
  while (options->command[argc]) argc++;
  size_t strings =
      strings_size(options->command, argc) + strings_size(caller->environment, caller->environment_count);
  for (int i = 0; i < FIXED; i++) strings += (fixed[i] ? strlen(fixed[i]) : 0) + 1;
  if (strings > HANDOVER_MAX - sizeof(struct handover_run) - sizeof caller->descriptors.list) {
    because(why, "its arguments and environment are larger than %u MiB", HANDOVER_MAX >> 20);
    return false;
  }
  struct handover_run run = run_of(options, caller, argc, (uint32_t)strings);
  if (terminal->peer >= 0) {
    run.flags |= HANDOVER_TERMINAL | (terminal->front ? 0u : (uint32_t)HANDOVER_BACKGROUND);
    terminal_describe(terminal, &run.modes, &run.window);
  }
  const size_t numbers = caller->descriptors.count * sizeof *caller->descriptors.list;
  struct handover_header header = {HANDOVER_RUN, (uint32_t)(sizeof run + numbers + strings)};
  size_t length = sizeof header + header.length;
  char* bytes = malloc(length);
  if (!bytes) {
    because(why, "%s", strerror(errno));
    return false;
  }
  memcpy(bytes, &header, sizeof header);
  memcpy(bytes + sizeof header, &run, sizeof run);
  char* at = bytes + sizeof header + sizeof run;
  memcpy(at, caller->descriptors.list, numbers);
  at += numbers;
  for (int i = 0; i < FIXED; i++) at = put(at, fixed[i]);
  for (uint32_t i = 0; i < argc; i++) at = put(at, options->command[i]);
  for (uint32_t i = 0; i < caller->environment_count; i++) at = put(at, caller->environment[i]);

  int fds[PASSED];
  bool sent = send_all(link, bytes, length, fds, to_pass(caller, terminal, fds), &caller->blocked);
  if (!sent) because(why, "the deputy: %s", strerror(errno));
  free(bytes);
  if (terminal->peer >= 0) close(terminal->peer);
  terminal->peer = -1;
  return sent;
}

void tell(int link, enum handover_kind kind, const void* body, size_t length) {
  const struct handover_header header = {kind, (uint32_t)length};
  char bytes[64];
  memcpy(bytes, &header, sizeof header);
  if (length) memcpy(bytes + sizeof header, body, length);
  ssize_t sent = send(link, bytes, sizeof header + length, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)sent;
}

static void take_fds(struct msghdr* header, struct message* message) {
  for (struct cmsghdr* it = CMSG_FIRSTHDR(header); it; it = CMSG_NXTHDR(header, it)) {
    if (it->cmsg_level != SOL_SOCKET || it->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (it->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && message->fd_count < HANDOVER_DESCRIPTORS; i++) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(it) + i * sizeof(int), sizeof fd);
      message->fds[message->fd_count++] = lift(fd);
    }
  }
}

static bool receive_all(int link, void* bytes, size_t length, struct message* message) {
  char* at = bytes;
  while (length) {
    union control control = {0};
    struct iovec piece = {at, length};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(link, &header, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    take_fds(&header, message);
    at += got;
    length -= (size_t)got;
  }
  return true;
}

bool receive(int link, struct message* message) {
  free(message->body);
  *message = (struct message){0};
  struct handover_header header;
  if (!receive_all(link, &header, sizeof header, message) || header.length > HANDOVER_MAX) return false;
  message->body = malloc(header.length + 1u);
  if (!message->body || !receive_all(link, message->body, header.length, message)) return false;
  message->body[header.length] = 0;
  message->kind = header.kind;
  message->length = header.length;
  return true;
}
