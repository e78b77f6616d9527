// SPDX-License-Identifier: LGPL-2.1-or-later
// FIFOs and sockets that are made, found and used here; programs that run cannot be written; inotify(7) of one's own changes.
#include <poll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "check.h"

static void fifos(void) {
  CHECK(mkfifo("fifo", 0640) == 0 && S_ISFIFO(stat_name("fifo").st_mode));
  FAILS(mkfifo("fifo", 0640), EEXIST);
  FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  const pid_t child = fork();
  if (child == 0) {
    const int out = open("fifo", O_WRONLY);
    CHECK(write(out, "through", 7) == 7);
    _exit(0);
  }
  char bytes[10];
  const int in = open("fifo", O_RDONLY);
  CHECK(read(in, bytes, 10) == 7 && memcmp(bytes, "through", 7) == 0 && read(in, bytes, 10) == 0 &&
        close(in) == 0);
  await(child);
  CHECK(rename("fifo", "moved") == 0 && (stat_name("moved").st_mode & 0777) == 0640 && unlink("moved") == 0);
}

static void sockets(void) {
  struct sockaddr_un at = {AF_UNIX, "socket"};
  const int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(bind(server, (struct sockaddr*)&at, sizeof at) == 0 && S_ISSOCK(stat_name("socket").st_mode));
  const int second = socket(AF_UNIX, SOCK_STREAM, 0);
  FAILS(bind(second, (struct sockaddr*)&at, sizeof at), EADDRINUSE);
  FAILS(connect(client, (struct sockaddr*)&at, sizeof at), ECONNREFUSED);
  CHECK(listen(server, 1) == 0 && connect(client, (struct sockaddr*)&at, sizeof at) == 0);
  const int peer = accept(server, NULL, NULL);
  char bytes[10];
  CHECK(write(client, "hello", 5) == 5 && read(peer, bytes, 10) == 5);
  FAILS(open("socket", O_RDONLY), ENXIO);
  CHECK(close(server) == 0 && close(client) == 0 && close(peer) == 0 && unlink("socket") == 0);
}

static void nodes(void) {
  CHECK(mknod("regular", S_IFREG | 0604, 0) == 0 && (stat_name("regular").st_mode) == (S_IFREG | 0604));
  FAILS(mknod("regular", S_IFREG | 0604, 0), EEXIST);
  CHECK(mknod("socket2", S_IFSOCK | 0600, 0) == 0 && unlink("socket2") == 0);
  FAILS(mknod("dir", S_IFDIR | 0600, 0), EPERM);
}

static int run(const char* path) {
  const pid_t child = fork();
  if (child == 0) {
    execl(path, path, "0.3", NULL);
    _exit(errno);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void busy(void) {
  // A copy of a program that is everywhere.
  const int from = open("/bin/sleep", O_RDONLY), to = open("program", O_WRONLY | O_CREAT, 0755);
  char bytes[65536];
  for (ssize_t got; (got = read(from, bytes, sizeof bytes)) > 0;) CHECK(write(to, bytes, (size_t)got) == got);
  CHECK(close(from) == 0 && run("./program") == ETXTBSY && close(to) == 0);
  const pid_t child = fork();
  if (child == 0) {
    execl("./program", "./program", "5", NULL);
    _exit(1);
  }
  char link[32], where[4096] = "";
  snprintf(link, sizeof link, "/proc/%d/exe", child);
  for (int i = 0; i < 500 && !strstr(where, "/program"); ++i) {
    usleep(10000);
    CHECK(readlink(link, where, sizeof where - 1) > 0);
  }
  FAILS(open("program", O_WRONLY), ETXTBSY);
  FAILS(truncate("program", 0), ETXTBSY);
  CHECK(rename("program", "elsewhere") == 0 && unlink("elsewhere") == 0);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  CHECK(close(make("data", 10, 1)) == 0 && chmod("data", 0644) == 0 && run("./data") == EACCES);
  CHECK(chmod("data", 0755) == 0 && run("./data") == ENOEXEC && run(".") == EACCES &&
        run("./none") == ENOENT);
}

// The events of `wanted`, which all come.
static void hear(int fd, uint32_t wanted) {
  char bytes[4096] __attribute__((aligned(8)));
  while (wanted) {
    struct pollfd ready = {fd, POLLIN, 0};
    CHECK(poll(&ready, 1, 3000) == 1);
    const ssize_t got = read(fd, bytes, sizeof bytes);
    for (ssize_t at = 0; at < got;) {
      const struct inotify_event* event = (const void*)(bytes + at);
      wanted &= ~event->mask;
      at += (ssize_t)(sizeof *event + event->len);
    }
  }
}

static void watched(void) {
  CHECK(mkdir("watched", 0777) == 0);
  const int fd = inotify_init1(IN_CLOEXEC);
  CHECK(fd >= 0 && inotify_add_watch(fd, "watched", IN_ALL_EVENTS) > 0);
  const int file = make("watched/file", 10, 1);
  hear(fd, IN_CREATE | IN_OPEN | IN_MODIFY);
  CHECK(close(file) == 0 && chmod("watched/file", 0600) == 0);
  hear(fd, IN_CLOSE_WRITE | IN_ATTRIB);
  CHECK(rename("watched/file", "watched/other") == 0 && unlink("watched/other") == 0);
  hear(fd, IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE);
  CHECK(rmdir("watched") == 0);
  hear(fd, IN_DELETE_SELF | IN_IGNORED);
  CHECK(close(fd) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  fifos();
  sockets();
  nodes();
  busy();
  watched();
  return 0;
}
