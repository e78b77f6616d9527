// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_slots.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <csignal>
#include <string>
#include <vector>

using namespace ssi;

namespace {

// A real process that ends when told to.
struct Sleeper {
  Sleeper() : pid(::fork()) {
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
  }
  ~Sleeper() { end(); }
  void end() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = 0;
  }
  pid_t pid;
};

void run_for(Loop& loop, std::uint64_t ms) {
  ::uv_update_time(loop.uv());  // or the time counts that the test took until here
  Timer timer(loop);
  timer.once(ms, [&] { loop.stop(); });
  loop.run();
}

}  // namespace

TEST_CASE("as many run at home as there are slots, the next one when one ends") {
  Loop loop;
  HomeSlots slots(loop, 2);
  Sleeper sleepers[3];
  std::vector<int> went;
  for (int i = 0; i < 3; ++i) slots.take({sleepers[i].pid, {}}, [&went, i] { went.push_back(i); });
  run_for(loop, 20);
  CHECK(went == std::vector<int>{0, 1});
  sleepers[0].end();
  run_for(loop, 100);
  CHECK(went == std::vector<int>{0, 1, 2});
  CHECK(slots.held() == 2);
}

TEST_CASE("what waits, or has just begun, is not seen in the load") {
  Loop loop;
  HomeSlots slots(loop, 1);
  Sleeper sleepers[2];
  for (const auto& sleeper : sleepers) slots.take({sleeper.pid, {}}, [] {});
  CHECK(slots.unshown() == 2);
  CHECK(slots.would_wait({::getpid(), {}}));
  CHECK_FALSE(slots.would_wait({sleepers[0].pid, {}}));
  run_for(loop, 1100);
  CHECK(slots.unshown() == 1);  // the one that waits
  CHECK(slots.wanted() == 2);
}

TEST_CASE("who runs below a slot's holder does not wait for it") {
  Loop loop;
  HomeSlots slots(loop, 1);
  Sleeper child;
  bool went = false;
  slots.take({::getpid(), {}}, [] {});
  slots.take({child.pid, {}}, [&] { went = true; });
  CHECK(went);
  CHECK(slots.held() == 2);
}

TEST_CASE("a process that has ended takes no slot") {
  Loop loop;
  HomeSlots slots(loop, 1);
  Sleeper sleeper;
  const pid_t pid = sleeper.pid;
  sleeper.end();
  bool went = false;
  slots.take({pid, {}}, [&] { went = true; });
  CHECK(went);
  CHECK(slots.held() == 0);
}

TEST_CASE("the stages of a pipeline do not wait for each other") {
  Loop loop;
  HomeSlots slots(loop, 1);
  Sleeper first, second, third, stranger;
  std::string went;
  slots.take({first.pid, {0, 11, 0}}, [&] { went += "1"; });
  slots.take({third.pid, {12, 0, 0}}, [&] { went += "3"; });
  slots.take({stranger.pid, {0, 11, 0}},
             [&] { went += "x"; });  // writes where the first does: no stage of it
  CHECK(went == "1");
  slots.take({second.pid, {11, 12, 0}}, [&] { went += "2"; });
  CHECK(went.find('2') != std::string::npos);
  CHECK(went.find('3') != std::string::npos);
}

TEST_CASE("nobody waits for ever") {
  Loop loop;
  HomeSlots slots(loop, 1, 500);
  Sleeper holder, waiter;
  bool went = false;
  ::uv_update_time(loop.uv());
  slots.take({holder.pid, {}}, [] {});
  slots.take({waiter.pid, {}}, [&] { went = true; });
  run_for(loop, 20);
  CHECK_FALSE(went);
  run_for(loop, 1000);
  CHECK(went);
}

TEST_CASE("who took a slot hears of its end, also when it waited or was gone before") {
  Loop loop;
  HomeSlots slots(loop, 1);
  Sleeper first, second, dead;
  const pid_t gone = dead.pid;
  dead.end();
  std::vector<int> ended;
  slots.take(
      {first.pid, {}}, [] {}, [&] { ended.push_back(1); });
  slots.take(
      {second.pid, {}}, [] {}, [&] { ended.push_back(2); });
  run_for(loop, 50);
  CHECK(ended.empty());
  first.end();
  run_for(loop, 100);
  CHECK(ended == std::vector<int>{1});
  second.end();
  run_for(loop, 100);
  slots.take(
      {gone, {}}, [] {}, [&] { ended.push_back(3); });
  run_for(loop, 50);
  CHECK(ended == std::vector<int>{1, 2, 3});
}
