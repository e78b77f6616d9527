// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/kill.h"

#include <doctest/doctest.h>

#include <csignal>

TEST_CASE("a signal by name or number") {
  CHECK(ssi::signal_number("TERM") == SIGTERM);
  CHECK(ssi::signal_number("SIGUSR1") == SIGUSR1);
  CHECK(ssi::signal_number("9") == SIGKILL);
  CHECK(ssi::signal_number("RTMIN") == SIGRTMIN);
  CHECK(ssi::signal_number("RTMIN+3") == SIGRTMIN + 3);
  for (const char* wrong : {"", "0", "65", "-1", "NONSENSE", "SIG", "TERM ", "RTMIN+99", "RTMINx"})
    CHECK_MESSAGE(ssi::signal_number(wrong) == 0, wrong);
}
