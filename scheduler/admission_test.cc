// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/admission.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrier>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "common/identity.h"
#include "common/test_folder.h"

using namespace ssi;

namespace {

struct Directory {
  TestFolder folder;
  const std::string& path = folder.path();
  void file(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    std::ofstream(path + "/" + name) << text;
    REQUIRE(::chmod((path + "/" + name).c_str(), mode) == 0);
  }
};

std::string line(const char* role, const Identity& who) {
  return std::string(role) + " " + key_text(who.public_key()) + "\n";
}

const std::string uuid = "0c1dbf2e-7c4e-4f7a-9d7e-5f2f0a9c1b11";

}  // namespace

TEST_CASE("one line each, named by its file") {
  const auto who = Identity::generate();
  const auto guest = parse_member("guest1.pub", line("guest", who));
  REQUIRE(guest);
  CHECK(guest->role == Role::guest);
  CHECK(guest->name == "guest1");
  CHECK(guest->key == who.public_key());
  const auto ann = parse_member("ann@desk.pub", line("deputy", who));
  REQUIRE(ann);
  CHECK(ann->role == Role::deputy);
  CHECK(ann->name == "ann");
  CHECK(parse_member("a.pub", "root " + key_text(who.public_key())).error().text() ==
        "a.pub: is not one line 'guest KEY', 'deputy KEY' or 'admin KEY'");
  const auto copied = parse_member("g.revoked", "guest " + key_text(who.public_key()) + " " + uuid);
  REQUIRE(copied);
  CHECK(copied->uuid == uuid);
  CHECK(parse_member("root.pub", line("admin", who))->role == Role::admin);
  CHECK_FALSE(parse_member("g.pub", "guest " + key_text(who.public_key()) + " 4711"));
  CHECK_FALSE(parse_member("a.pub", "deputy " + key_text(who.public_key()) + " " + uuid));
  for (const std::string& text :
       {std::string(), std::string("guest"), std::string("guest 12"), line("guest", who) + line("guest", who),
        "guest  " + key_text(who.public_key()), "guest " + std::string(64, '0')})
    CHECK_FALSE(parse_member("a.pub", text));
  for (const char* name : {".pub", "a", "a b.pub", "a\n.pub", "@x.pub"})
    CHECK_FALSE(parse_member(name, line("deputy", who)));
}

TEST_CASE("added is admitted, deleted is revoked, at once") {
  const Directory directory;
  const auto a = Identity::generate(), b = Identity::generate();
  directory.file("a.pub", line("guest", a));
  auto admission = Admission::open(directory.path);
  REQUIRE(admission);
  REQUIRE(admission->find(a.curve_public()));
  CHECK(admission->find(a.curve_public())->name == "a");
  CHECK_FALSE(admission->find(b.curve_public()));
  directory.file("b.pub", line("deputy", b));
  REQUIRE(admission->find(b.curve_public()));
  CHECK(admission->find(b.curve_public())->role == Role::deputy);
  std::filesystem::remove(directory.path + "/a.pub");
  CHECK_FALSE(admission->find(a.curve_public()));
  CHECK(admission->find(b.curve_public()));
  std::filesystem::remove_all(directory.path);
  CHECK_FALSE(admission->find(b.curve_public()));
}

TEST_CASE("a key that was changed in place is found") {
  const Directory directory;
  const auto a = Identity::generate(), b = Identity::generate();
  directory.file("a.pub", line("guest", a));
  ::usleep(60'000);
  auto admission = Admission::open(directory.path);
  REQUIRE(admission->find(a.curve_public()));
  directory.file("a.pub", line("guest", b));
  ::usleep(210'000);
  CHECK(admission->find(b.curve_public()));
  CHECK_FALSE(admission->find(a.curve_public()));
}

TEST_CASE("what others may write admits nobody, the rest still counts") {
  const Directory directory;
  const auto a = Identity::generate(), b = Identity::generate(), c = Identity::generate();
  directory.file("a.pub", line("guest", a), 0666);
  directory.file("b.pub", line("guest", b));
  directory.file("broken.pub", "nonsense");
  directory.file("c.pub.new", line("guest", c));
  REQUIRE(::symlink("b.pub", (directory.path + "/link.pub").c_str()) == 0);
  auto admission = Admission::open(directory.path);
  REQUIRE(admission);
  CHECK_FALSE(admission->find(a.curve_public()));
  CHECK(admission->find(b.curve_public()));
  CHECK_FALSE(admission->find(c.curve_public()));
  REQUIRE(::chmod(directory.path.c_str(), 0777) == 0);
  CHECK(Admission::open(directory.path).error().text() == directory.path + ": others may write to it");
  CHECK(Admission::open("/nonexistent").error().text() == "/nonexistent: No such file or directory");
  CHECK(Admission::open("/dev/null").error().text() == "/dev/null: Not a directory");
}

TEST_CASE("guests are admitted under a name of their own, revoked, and admitted again") {
  const Directory directory;
  const auto a = Identity::generate(), b = Identity::generate(), c = Identity::generate();
  auto admission = Admission::open(directory.path);
  CHECK(admission->admit_guest("guest", a.public_key(), uuid) == "guest");
  CHECK(admission->admit_guest("guest", b.public_key(), "") == "guest-2");
  CHECK(admission->admit_guest("../../etc/passwd", c.public_key(), "") ==
        "guest-" + fingerprint(c.public_key()).substr(0, 8));
  REQUIRE(admission->find(a.curve_public()));
  CHECK(admission->find(a.curve_public())->uuid == uuid);
  CHECK(admission->guests().size() == 3);
  CHECK(admission->admit_guest("other", a.public_key(), "").error().text() ==
        "this key is admitted already, as guest");
  const auto d = Identity::generate(), e = Identity::generate();
  CHECK(admission->admit_guest("home", d.public_key(), "") ==
        "guest-" + fingerprint(d.public_key()).substr(0, 8));
  CHECK(admission->admit_guest(std::string(128, 'x'), e.public_key(), "") ==
        "guest-" + fingerprint(e.public_key()).substr(0, 8));
  directory.file("copy.pub", line("guest", d));
  CHECK_FALSE(admission->revoke_guest(fingerprint(d.public_key())));  // which of the two files?
  CHECK(admission->find(d.curve_public()));
  std::filesystem::remove(directory.path + "/copy.pub");

  CHECK(admission->revoke_guest("nobody").error().text() ==
        "no guest 'nobody' is admitted; 'ssi guests list' shows all");
  REQUIRE(admission->revoke_guest(fingerprint(a.public_key())));
  CHECK(admission->revoke_guest(fingerprint(a.public_key())));  // a second scheduler with this directory
  CHECK_FALSE(admission->find(a.curve_public()));
  REQUIRE(admission->find_revoked(a.curve_public()));
  // Another scheduler, or this one after a restart, knows it too; and its name stays its own.
  auto again = Admission::open(directory.path);
  CHECK(again->find_revoked(a.curve_public()));
  CHECK(again->admit_guest("guest", Identity::generate().public_key(), "") == "guest-3");
  CHECK(again->admit_guest("another wish", a.public_key(), uuid) == "guest");
  CHECK(again->find(a.curve_public()));
  CHECK_FALSE(again->find_revoked(a.curve_public()));
}

TEST_CASE("two schedulers with one directory admit a guest under one name, and two guests under two") {
  const Directory directory;
  struct Round {
    Identity same = Identity::generate(), others[2] = {Identity::generate(), Identity::generate()};
    std::string names[2], names_of_others[2];
  };
  std::vector<Round> rounds(50);
  std::barrier together(2);
  const auto schedule = [&](std::size_t which) {
    auto admission = Admission::open(directory.path);
    for (auto& round : rounds) {
      together.arrive_and_wait();
      const auto same = admission->admit_guest("same", round.same.public_key(), "");
      // One that knows of it before it is asked says so: enrolment.cc looks first.
      const auto* member = admission->find(round.same.curve_public());
      round.names[which] = same ? *same : member ? member->name : same.error().text();
      together.arrive_and_wait();
      round.names_of_others[which] = admission->admit_guest("other", round.others[which].public_key(), "").value();
    }
  };
  std::thread second(schedule, 1);
  schedule(0);
  second.join();
  std::set<std::string> names;
  for (const auto& round : rounds) {
    CHECK(round.names[0] == round.names[1]);
    names.insert(round.names[0]);
    names.insert(round.names_of_others, round.names_of_others + 2);
  }
  CHECK(names.size() == 3 * rounds.size());
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(directory.path)) files += file.is_regular_file();
  CHECK(files == 3 * rounds.size());
}

TEST_CASE("a key is named by its digits, from the fingerprint on") {
  const auto key = Identity::generate().public_key();
  CHECK(names_key(key_text(key), key));
  CHECK(names_key(fingerprint(key), key));
  CHECK_FALSE(names_key(fingerprint(key).substr(1), key));
  CHECK_FALSE(names_key(key_text(key).substr(0, 15), key));
  CHECK_FALSE(names_key("", key));
}
