// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "cli/pool_record.h"

namespace ssi {
namespace {

Status become(const std::vector<std::string>& argv) {
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return exec_daemon(argv, {"PATH=/usr/bin:/bin"}, null);
}

TEST_CASE("field 22 is found behind any name") {
  std::string fields = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
  CHECK(start_in_stat("12 (sleep)" + fields) == 4711);
  CHECK(start_in_stat("12 (a) b (c d) 99)" + fields) == 4711);
  CHECK(start_in_stat("") == 0);
  CHECK(start_in_stat("12 (sleep) S 1 2") == 0);
}

TEST_CASE("a process is known by its start time") {
  auto child = HeldChild::make(0, [] { return become({"/bin/sleep", "60"}); });
  REQUIRE(child);
  REQUIRE(child->release());
  CHECK(is_running(child->id()));
  ProcessId reused = child->id();
  reused.start++;
  CHECK_FALSE(is_running(reused));
  CHECK_FALSE(is_running({}));
  REQUIRE(end_processes({reused}, 100));
  CHECK(is_running(child->id()));  // a stranger with the same pid is left alone
  REQUIRE(end_processes({child->id()}, 2000));
  CHECK_FALSE(is_running(child->id()));
}

TEST_CASE("who does not heed SIGTERM is killed") {
  auto child = HeldChild::make(0, [] {
    return become({"/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"});
  });
  REQUIRE(child);
  REQUIRE(child->release());
  ::usleep(100'000);
  auto before = std::chrono::steady_clock::now();
  REQUIRE(end_processes({child->id()}, 300));
  auto took = std::chrono::steady_clock::now() - before;
  CHECK_FALSE(is_running(child->id()));
  CHECK(took >= std::chrono::milliseconds(250));
  CHECK(took < std::chrono::seconds(4));
}

TEST_CASE("what goes wrong before the exec is told") {
  auto child = HeldChild::make(0, [] { return become({"/nonexistent/program"}); });
  REQUIRE(child);
  auto released = child->release();
  REQUIRE_FALSE(released);
  CHECK(released.error().text() == "exec /nonexistent/program: No such file or directory");
  CHECK(end_processes({child->id()}, 100));
}

TEST_CASE("a child that was never released ends with its holder") {
  ProcessId id;
  {
    auto child = HeldChild::make(0, [] { return become({"/bin/sleep", "60"}); });
    REQUIRE(child);
    id = child->id();
    CHECK(is_running(id));
  }
  CHECK(::waitpid(id.pid, nullptr, 0) == id.pid);  // would hang if it did not end
}

}  // namespace
}  // namespace ssi
