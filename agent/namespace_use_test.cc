// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/namespace_use.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "common/fd.h"

using namespace ssi;

TEST_CASE("a process's times, with its waited-for children's, and its memory") {
  const auto use = parse_process_stat(
      "42 (a) b) (c) R 1 42 42 0 -1 4194304 90 0 0 0 150 50 30 20 20 0 1 0 12345 9000000 256 "
      "18446744073709551615 "
      "1 1 0",
      100, 4096);
  REQUIRE(use);
  CHECK(use->cpu_us == 2'500'000);
  CHECK(use->memory == 256 * 4096);
}

TEST_CASE("what is no stat line is nothing") {
  for (const char* text :
       {"", "42", "42 (x)", "42 (x) R 1 2 3", "42 (x) R 1 2 3 4 5 6 7 8 9 10 a b c d 1 1 1 1 1 1 1"})
    CHECK_FALSE(parse_process_stat(text, 100, 4096));
}

TEST_CASE("a real /proc sums to something") {
  const Fd proc(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK(namespace_use(proc.get()).memory > 1 << 20);
}
