// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/caller.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cstring>

using namespace ssi;

TEST_CASE("the end of a job reaches an ssirun that has read nothing of all that came before") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  Fd ssirun(ends[1]);
  Loop loop;
  Caller caller(loop, Fd(ends[0]));
  for (int i = 0; i < 5000; ++i) {
    caller.modes({});
    caller.stopped(19);
  }
  caller.exited(7 << 8, 0, "", "");

  std::string all;
  char bytes[4096];
  for (ssize_t got; (got = ::read(ssirun.get(), bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(got));
  handover_header last{};
  for (std::size_t at = 0; at + sizeof last <= all.size(); at += sizeof last + last.length)
    std::memcpy(&last, all.data() + at, sizeof last);
  CHECK(last.kind == HANDOVER_EXITED);
  CHECK(last.length == sizeof(handover_exited));
}
