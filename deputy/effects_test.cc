// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/effects.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

wire::Caller of(std::uint64_t job) {
  auto caller = TestHome::me();
  caller.job = job;
  return caller;
}

}  // namespace

TEST_CASE("what changes home counts for the job that did it") {
  TestHome home;
  auto& effects = home.effects();
  const void* session = home.server().session();
  effects.begin(1, {}, session);
  effects.begin(2, {}, session);
  effects.begin(3, {}, &home);
  CHECK(home.ask(wire::Mkdir{home.root(), "dir", 0750, of(1)}));
  CHECK_FALSE(effects.standing(1).clean);
  CHECK(effects.standing(2).clean);
  CHECK(effects.standing(4).clean);  // never begun

  SUBCASE("through a handle, whoever opened it") {
    const auto handle = home.next_handle();
    effects.settle(1);
    home.write("file", "text");
    CHECK(home.ask(wire::Open{home.look(home.root(), "file").node, handle, O_RDWR, of(2)}));
    CHECK(effects.standing(2).clean);
    CHECK(home.ask(wire::Write{handle, 0}, "more"));
    CHECK_FALSE(effects.standing(2).clean);
  }
  SUBCASE("of nobody's it may be any one's of that session") {
    CHECK(home.ask(wire::Mkdir{home.root(), "another", 0750, of(0)}));
    const std::string why = "it cannot be told which job changed what";
    CHECK(effects.standing(1).not_rerunnable == why);
    CHECK(effects.standing(2).not_rerunnable == why);
    CHECK(effects.standing(3).clean);
    effects.settle(1);
    effects.begin(1, {}, session);
    CHECK(effects.standing(1).clean);
  }
  SUBCASE("who is undone changes nothing any more") {
    bool done = false;
    effects.undo(2, [&](const Status& status) {
      done = status.has_value();
      home.loop().stop();
    });
    CHECK(home.error(wire::Mkdir{home.root(), "another", 0750, of(2)}) == ESTALE);
    while (!done) home.loop().run();
    CHECK(home.error(wire::Mkdir{home.root(), "third", 0750, of(1)}) == 0);
  }
}
