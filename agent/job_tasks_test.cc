// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_tasks.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

using namespace ssi;

TEST_CASE("a task is of the only job, or of the one whose first process it descends from") {
  std::map<pid_t, pid_t> inits{{11, 10}, {12, 10}, {21, 20}};
  int asked = 0;
  JobTasks tasks([&](pid_t task) {
    ++asked;
    return inits[task];
  });
  CHECK(tasks.job_of(11, 0) == 0);
  asked = 0;
  tasks.began(1);
  CHECK(tasks.job_of(11, 0) == 1);
  CHECK(tasks.job_of(4711, 0) == 1);
  CHECK(asked == 0);

  const pid_t second = ::fork();
  if (second == 0) {
    ::pause();
    ::_exit(0);
  }
  inits[21] = second;
  tasks.began(2);
  tasks.has_init(1, 10);
  CHECK(tasks.job_of(21, 0) == 2);  // which has not said anything yet
  tasks.has_init(2, second);
  CHECK(tasks.job_of(11, 0) == 1);
  CHECK(tasks.job_of(21, 0) == 2);
  CHECK(tasks.job_of(31, 0) == 0);
  asked = 0;
  CHECK(tasks.job_of(21, JobTasks::remembered_ms - 1) == 2);
  CHECK(asked == 0);
  inits[21] = 10;  // another task by now
  CHECK(tasks.job_of(21, JobTasks::remembered_ms) == 1);

  // One that was killed is told from the others until it is dead.
  inits[21] = second;
  tasks.over(2);
  CHECK(tasks.job_of(21, 0) == 2);
  CHECK(tasks.job_of(11, 0) == 1);
  ::kill(second, SIGKILL);
  ::waitpid(second, nullptr, 0);
  CHECK(tasks.job_of(21, 0) == 1);
}
