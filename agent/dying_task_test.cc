// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dying_task.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

using ssi::has_fatal_signal;

namespace {
std::string status(const char* own, const char* shared, const char* blocked, const char* ignored,
                   const char* caught) {
  return std::string("Name:\tx\nSigQ:\t0/1\nSigPnd:\t") + own + "\nShdPnd:\t" + shared + "\nSigBlk:\t" +
         blocked + "\nSigIgn:\t" + ignored + "\nSigCgt:\t" + caught + "\nCapInh:\t0000000000000000\n";
}
constexpr const char* none = "0000000000000000";
constexpr const char* quit = "0000000000000004";
}  // namespace

TEST_CASE("which pending signals end a task") {
  CHECK_FALSE(has_fatal_signal(status(none, none, none, none, none)));
  CHECK(has_fatal_signal(status("0000000000000100", none, none, none, none)));  // SIGKILL
  CHECK(has_fatal_signal(status(none, "0000000000000100", none, none, none)));
  CHECK_FALSE(has_fatal_signal(status(none, "0000000000010000", none, none, none)));                // SIGCHLD
  CHECK_FALSE(has_fatal_signal(status("0000000000002000", none, none, none, "0000000000002000")));  // SIGALRM
  CHECK(has_fatal_signal(status(none, quit, none, none, none)));
  CHECK_FALSE(has_fatal_signal(status(none, quit, quit, none, none)));
  CHECK_FALSE(has_fatal_signal(status(none, quit, none, quit, none)));
  CHECK_FALSE(has_fatal_signal(status(none, quit, none, none, quit)));
  CHECK_FALSE(has_fatal_signal(""));
  CHECK_FALSE(has_fatal_signal("\nSigPnd:\tzz"));
}

TEST_CASE("a real task") {
  CHECK_FALSE(ssi::is_dying(::getpid()));
  CHECK_FALSE(ssi::is_dying(0));
  // A stopped task leaves its signals pending.
  const auto child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  ::kill(child, SIGSTOP);
  int ignored;
  ::waitpid(child, &ignored, WUNTRACED);
  CHECK_FALSE(ssi::is_dying(child));
  ::kill(child, SIGQUIT);
  CHECK(ssi::is_dying(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, &ignored, 0);
}
