// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/log_file.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "common/fd.h"

using namespace ssi;

TEST_CASE("the log is cut when it is too long, at the start and while it is written") {
  char path[] = "/tmp/ssi-log-test.XXXXXX";
  REQUIRE(Fd(::mkstemp(path)));
  const auto size = [&] { return std::filesystem::file_size(path); };
  const Fd before(::dup(STDERR_FILENO));
  std::filesystem::resize_file(path, log_file::max_bytes + 1);
  const auto opened = log_file::open(path);
  const auto at_start = size();
  std::filesystem::resize_file(path, log_file::max_bytes);
  const auto kept = log_file::cut();
  const auto full = size();
  (void)!::write(STDERR_FILENO, "line", 4);
  const auto done = log_file::cut();
  (void)!::write(STDERR_FILENO, "next", 4);
  const auto at_end = size();
  ::dup2(before.get(), STDERR_FILENO);  // and only now may a check speak
  std::filesystem::remove(path);
  CHECK((opened && kept && done));
  CHECK(at_start == 0);
  CHECK(full == log_file::max_bytes);
  CHECK(at_end == 4);
}
