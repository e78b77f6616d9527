// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/printable.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>

#include "common/fd.h"
#include "common/log.h"

using namespace ssi;

TEST_CASE("control characters of either set become question marks") {
  CHECK(printable("a\x1b[2J\n\tb\x7f") == "a?[2J??b?");
  CHECK(printable(std::string_view("a\0b", 3)) == "a?b");
  CHECK(printable("a\xc2\x80\xc2\x9b\xc2\x9f"
                  "b") == "a???b");
}

TEST_CASE("all other UTF-8 stays") {
  for (const char* text :
       {"", "plain", "caf\u00e9 \u00a0", "\u0416\u20ac\u65e5", "\xf0\x9f\x90\xa7", "\u061b"})
    CHECK(printable(text) == text);
}

TEST_CASE("what is no UTF-8 may mean a control character to somebody") {
  CHECK(printable("\x9b"
                  "2J") == "?2J");
  CHECK(printable("\xe0\x82\x9b") == "???");       // U+009B, spelt too long
  CHECK(printable("\xed\xa0\x80") == "???");       // half of a surrogate pair
  CHECK(printable("\xf4\x90\x80\x80") == "????");  // above all there are
  CHECK(printable("caf\xe9") == "caf?");           // Latin-1, and cut off
  CHECK(printable("\xe2\x82") == "??");
}

TEST_CASE("a line of the log is made so") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file);
  const Fd before(::dup(STDERR_FILENO));
  ::dup2(::fileno(file), STDERR_FILENO);
  log::warning("guest {}", "a\xc2\x9b\nb");
  ::dup2(before.get(), STDERR_FILENO);
  std::rewind(file);
  char line[200] = {};
  REQUIRE(std::fgets(line, sizeof line, file));
  std::fclose(file);
  const std::string_view written(line);
  CHECK_MESSAGE(written.find("warning: guest a??b\n") != written.npos, line);
}
