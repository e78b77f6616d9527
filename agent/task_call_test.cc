// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/task_call.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <thread>

using namespace ssi;

namespace {

std::string text(long number, long first, long second, long third) {
  std::ostringstream line;
  line << number << std::hex << " 0x" << first << " 0x" << second << " 0x" << third
       << " 0x0 0x0 0x0 0x7ffe 0x7f00\n";
  return line.str();
}

}  // namespace

TEST_CASE("what a system call means for a FIFO or a socket") {
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_RDONLY | O_CLOEXEC)) == Call::opens);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_WRONLY | O_CREAT | O_TRUNC)) == Call::opens);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_PATH)) == Call::other);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_RDONLY | O_DIRECTORY)) == Call::other);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_WRONLY | O_CREAT | O_EXCL)) == Call::other);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK)) ==
        Call::other);
  CHECK(call_of(text(SYS_openat, 0xffffff9c, 0x7f, O_WRONLY | O_NONBLOCK)) == Call::opens);
  CHECK(call_of(text(SYS_connect, 3, 0x7f, 110)) == Call::connects);
  CHECK(call_of(text(SYS_newfstatat, 3, 0x7f, 0)) == Call::other);
  CHECK(call_of(text(SYS_unlinkat, 3, 0x7f, 0)) == Call::other);
  CHECK(call_of("running\n") == Call::unsure);
  CHECK(call_of("-1 0x7ffe 0x7f00\n") == Call::other);
  CHECK(call_of("") == Call::other);
}

TEST_CASE("the kernel's own words of a thread that waits") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  pid_t waits = 0;
  char byte;
  std::thread thread([&] {
    __atomic_store_n(&waits, ::gettid(), __ATOMIC_RELEASE);
    (void)!::read(ends[0], &byte, 1);
  });
  while (!__atomic_load_n(&waits, __ATOMIC_ACQUIRE)) std::this_thread::yield();
  std::string line;
  for (int tries = 0; line.empty() || line == "running"; ++tries) {
    REQUIRE(tries < 1000);
    ::usleep(1000);
    std::ifstream file("/proc/self/task/" + std::to_string(waits) + "/syscall");
    std::getline(file, line);
  }
  CHECK(call_of(line) == Call::other);
  CHECK(std::stol(line) == SYS_read);
  (void)!::write(ends[1], "x", 1);
  thread.join();
}

TEST_CASE("where a process stands") {
  const auto place = place_of("Name:\tsh\nPid:\t77\nPPid:\t70\nNSpid:\t77\t5\t1\nNSpgid:\t0\n");
  CHECK(place.parent == 70);
  CHECK(place.depth == 3);
  CHECK(place.inner == 1);
  CHECK(place_of("").depth == 0);
  CHECK(init_of(::getpid()) == 0);
}
