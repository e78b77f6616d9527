// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/text_uses.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();
const int other_guest = 0;

// A program that one guest knows, and another may use as well.
struct Program {
  TestHome home;
  std::uint64_t node = 0;
  FileId id;
  Program() {
    home.write("program", "text");
    node = home.look(home.root(), "program").node;
    struct statx status;
    REQUIRE(stat_at(AT_FDCWD, home.path("program").c_str(), status) == 0);
    id = id_of(status);
  }
  TextUses& uses() { return home.effects().text_uses(); }
  int open(int flags, bool exec = false) {
    return home.error(wire::Open{node, home.next_handle(), flags, me, exec});
  }
  wire::Setattr emptied() { return TestHome::setting(node, wire::Setattr::set_size); }
  wire::Create created() { return {home.root(), "program", 0644, O_WRONLY | O_CREAT, home.next_handle(), me, 0}; }
};

}  // namespace

TEST_CASE("a guest stands against another guest's use of the other kind, and not against its own") {
  const int guest = 0;
  const FileId file{1, 2, 3, S_IFREG}, another{1, 3, 3, S_IFREG};
  TextUses uses;
  uses.begin(file, &guest, TextUses::writes);
  uses.begin(file, &guest, TextUses::writes);
  CHECK(uses.has(file, &guest, TextUses::writes));
  CHECK(uses.stands_against(file, &other_guest, TextUses::runs));
  CHECK_FALSE(uses.stands_against(file, &other_guest, TextUses::writes));
  CHECK_FALSE(uses.stands_against(file, &guest, TextUses::runs));
  CHECK_FALSE(uses.stands_against(another, &other_guest, TextUses::runs));
  uses.end(file, &guest, TextUses::writes);
  CHECK(uses.stands_against(file, &other_guest, TextUses::runs));
  uses.end(file, &guest, TextUses::writes);
  CHECK_FALSE(uses.stands_against(file, &other_guest, TextUses::runs));
  uses.begin(file, &guest, TextUses::runs);
  uses.forget(&guest);
  CHECK_FALSE(uses.stands_against(file, &other_guest, TextUses::writes));
}

TEST_CASE("what another guest runs is neither opened for writing nor truncated") {
  Program program;
  program.uses().begin(program.id, &other_guest, TextUses::runs);
  CHECK(program.open(O_WRONLY) == ETXTBSY);
  CHECK(program.open(O_RDONLY | O_TRUNC) == ETXTBSY);
  CHECK(program.home.error(program.emptied()) == ETXTBSY);
  CHECK(program.home.error(program.created()) == ETXTBSY);
  CHECK(program.home.content("program") == "text");
  CHECK(program.open(O_RDONLY) == 0);
  CHECK(program.open(O_RDONLY, true) == 0);
  program.uses().end(program.id, &other_guest, TextUses::runs);
  CHECK(program.open(O_WRONLY) == 0);
  CHECK(program.home.error(program.emptied()) == 0);
  CHECK(program.home.error(program.created()) == 0);
}

TEST_CASE("what another guest or home writes is not run; what the guest writes itself its own kernel judges") {
  Program program;
  program.uses().begin(program.id, &other_guest, TextUses::writes);
  CHECK(program.open(O_RDONLY, true) == ETXTBSY);
  CHECK(program.open(O_RDONLY) == 0);
  CHECK(program.open(O_WRONLY) == 0);
  program.uses().end(program.id, &other_guest, TextUses::writes);
  CHECK(program.open(O_RDONLY, true) == 0);
  Program another;
  Fd writer(::open(another.home.path("program").c_str(), O_WRONLY | O_CLOEXEC));
  CHECK(another.open(O_RDONLY, true) == ETXTBSY);
  CHECK(another.open(O_RDONLY) == 0);
  writer.reset();
  CHECK(another.open(O_RDONLY, true) == 0);
}

TEST_CASE("a close that is told of late makes no file busy; a lost guest uses nothing") {
  Program program;
  program.uses().begin(program.id, &other_guest, TextUses::runs);
  Timer late(program.home.loop());
  late.once(50, [&] { program.uses().end(program.id, &other_guest, TextUses::runs); });
  CHECK(program.open(O_WRONLY) == 0);
  CHECK(program.uses().stands_against(program.id, &other_guest, TextUses::runs));
  program.home.lose();
  CHECK_FALSE(program.uses().stands_against(program.id, &other_guest, TextUses::runs));
}

TEST_CASE("who asks for a lease is not ended by a signal, nor is a writer kept out") {
  Program program;
  const auto path = program.home.path("program");
  const Fd held(::open(path.c_str(), O_PATH | O_CLOEXEC));
  for (int turn = 0; turn < 100; ++turn) {
    CHECK_FALSE(is_open_for_writing(held.get()));
    const Fd writer(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
    CHECK(writer);
    CHECK(is_open_for_writing(held.get()));
  }
}
