// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/load.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <thread>

using namespace ssi;

TEST_CASE("/proc/stat: only our processors, guest time not twice") {
  const char* text =
      "cpu  999 999 999 999 999 999 999 999 999 999\n"
      "cpu0 100 10 30 1000 50 1 2 7 60 0\n"
      "cpu1 200 0 0 500 0 0 0 3 0 0\n"
      "cpu10 5000 0 0 0 0 0 0 0 0 0\n"
      "intr 12345 1 2 3\nctxt 99\nprocs_running 4\nprocs_blocked 0\n";
  const auto both = parse_stat(text, {0, 1});
  CHECK(both.busy == 100 + 10 + 30 + 1 + 2 + 200);
  CHECK(both.idle == 1050 + 500);
  CHECK(both.steal == 10);
  CHECK(both.runnable == 4);
  CHECK(parse_stat(text, {1}).busy == 200);
  CHECK(parse_stat(text, {1, 10}).busy == 5200);
}

TEST_CASE("old kernels have fewer columns, and no text is no time") {
  CHECK(parse_stat("cpu0 1 2 3 4\n", {0}).busy == 6);
  CHECK(parse_stat("cpu0 1 2 3 4\n", {0}).steal == 0);
  CHECK(parse_stat("", {0}).busy == 0);
  CHECK(parse_stat("cpu\ncpu0\nprocs_running", {0}).idle == 0);
}

TEST_CASE("use between two readings") {
  const CpuTimes before{100, 1000, 10, 0};
  const auto half = use_between(before, {200, 1100, 10, 0}, 4);
  CHECK(half.busy == doctest::Approx(2));
  CHECK(half.steal == 0);
  const auto stolen = use_between(before, {150, 1000, 60, 0}, 4);
  CHECK(stolen.busy == doctest::Approx(2));
  CHECK(stolen.steal == doctest::Approx(0.5));
  CHECK(use_between(before, before, 4).busy == 0);
  const auto back = use_between(before, {50, 1100, 0, 0}, 4);
  CHECK(back.busy == 0);
  CHECK(back.steal == 0);
}

TEST_CASE("memory") {
  const auto memory =
      parse_meminfo("MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\nSwapTotal: 9 kB\n");
  CHECK(memory.total == 2048 << 10);
  CHECK(memory.free == 1024 << 10);
  CHECK(parse_meminfo("").total == 0);
}

TEST_CASE("pressure") {
  CHECK(parse_pressure(
            "some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=3.00 avg60=0 avg300=0 total=1\n") ==
        doctest::Approx(12.34));
  CHECK(parse_pressure("full avg10=3.00\n") == -1);
  CHECK(parse_pressure("") == -1);
}

TEST_CASE("a cgroup's quota") {
  CHECK(parse_quota("20000 100000\n") == doctest::Approx(0.2));
  CHECK(parse_quota("400000 100000\n") == doctest::Approx(4));
  CHECK(parse_quota("150000\n 100000\n") == doctest::Approx(1.5));  // v1: two files
  for (const char* none : {"max 100000\n", "-1\n 100000\n", "", " ", "20000", "20000 0", "0 100000", "x y"}) {
    CAPTURE(none);
    CHECK_FALSE(parse_quota(none));
  }
}

TEST_CASE("this machine") {
  Load load(1.5);
  // A busy thread of ours must show; how much of a processor it gets is the machine's affair.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < end) {
  }
  const auto report = load.sample();
  CHECK(report.cpus >= 1);
  CHECK(report.cpus <= ::sysconf(_SC_NPROCESSORS_CONF));
  CHECK(report.speed == 1.5);
  CHECK(report.busy + report.steal > 0.1);
  CHECK(report.busy <= report.cpus);
  CHECK(report.steal >= 0);
  CHECK(report.steal <= 1);
  CHECK(report.runnable >= 1);
  CHECK(report.memory_total > 0);
  CHECK(report.memory_free <= report.memory_total);
  // At once again: too short to measure, so the last measurement stands.
  CHECK(load.sample().busy == report.busy);
}
