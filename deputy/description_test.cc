// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/description.h"

#include <doctest/doctest.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

// A file that home has open, and handles of a guest's that stand for it.
struct Shared {
  explicit Shared(int flags = O_RDWR, const std::string& content = "") {
    home.write("file", content);
    fd.reset(::open(home.path("file").c_str(), flags));
    node = home.look(home.root(), "file").node;
  }

  std::uint64_t adopt(std::uint64_t offset = 0) {
    const std::uint64_t token = ++last_token;
    descriptions.push_back(std::make_shared<Description>(fd.duplicate(), offset));
    home.server().offer(token, descriptions.back());
    const auto handle = home.open(node, O_RDWR);
    REQUIRE(home.error(wire::Adopt{handle, token}) == 0);
    return handle;
  }
  void write(std::uint64_t handle, std::uint64_t at, const std::string& bytes) {
    const auto written = home.ask(wire::Write{handle, at}, bytes);
    REQUIRE(written);
    CHECK(written->size == bytes.size());
  }
  void write_at_home(const std::string& bytes) const {
    REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  off_t stands() const { return ::lseek(fd.get(), 0, SEEK_CUR); }

  TestHome home;
  Fd fd;
  std::uint64_t node = 0, last_token = 70;
  std::vector<std::shared_ptr<Description>> descriptions;
};

}  // namespace

TEST_CASE("what goes on where the last transfer ended goes on where home's description stands") {
  Shared file;
  file.write_at_home("home1 ");
  const auto one = file.adopt(6), two = file.adopt(6);
  file.write(one, 6, "one1 ");
  file.write(two, 6, "two1 ");
  file.write_at_home("home2 ");
  file.write(one, 11, "one2 ");
  CHECK(file.home.content("file") == "home1 one1 two1 home2 one2 ");
  CHECK(file.stands() == 27);
  CHECK(file.descriptions[0]->next() == 16);  // as the guest counts
}

TEST_CASE("what seeks takes home's description along") {
  Shared file(O_RDWR, "0123456789");
  const auto handle = file.adopt();
  file.write(handle, 4, "ab");
  CHECK(file.stands() == 6);
  file.write_at_home("c");
  file.write(handle, 6, "d");
  CHECK(file.home.content("file") == "0123abcd89");
  CHECK(file.home.read(handle, 8, 10) == "89");
  CHECK(file.stands() == 10);
  CHECK(file.home.read(handle, 10, 10).empty());
  CHECK(file.home.read(handle, 1, 2) == "12");
  CHECK(file.stands() == 3);
}

TEST_CASE("copies go there too") {
  Shared file;
  file.home.write("source", "abcdef");
  const auto source = file.home.open(file.home.look(file.home.root(), "source").node, O_RDONLY);
  const auto handle = file.adopt();
  file.write_at_home("home ");
  const auto copied = file.home.ask(wire::CopyRange{source, 2, handle, 0, 3});
  REQUIRE(copied);
  CHECK(copied->size == 3);
  CHECK(file.home.content("file") == "home cde");
  CHECK(file.stands() == 8);
}

TEST_CASE("a handle outlives the owner of the description") {
  Shared file;
  const auto handle = file.adopt();
  file.descriptions.clear();
  file.write(handle, 0, "late");
  CHECK(file.home.content("file") == "late");
}

TEST_CASE("nobody adopts what was not offered, or twice, or for another file") {
  Shared file;
  file.home.write("other", "");
  const auto other = file.home.open(file.home.look(file.home.root(), "other").node, O_RDWR);
  const auto handle = file.home.open(file.node, O_RDWR);
  const auto description = std::make_shared<Description>(file.fd.duplicate(), 0);
  file.home.server().offer(5, description);
  CHECK(file.home.error(wire::Adopt{handle, 6}) == EPERM);
  CHECK(file.home.error(wire::Adopt{999, 5}) == EBADF);
  CHECK(file.home.error(wire::Adopt{other, 5}) == ESTALE);
  CHECK(file.home.error(wire::Adopt{handle, 5}) == 0);
  CHECK(file.home.error(wire::Adopt{handle, 5}) == EPERM);
  file.home.server().offer(7, std::make_shared<Description>(file.fd.duplicate(), 0));  // its owner is gone
  CHECK(file.home.error(wire::Adopt{handle, 7}) == EPERM);
}

TEST_CASE("the description's own rights hold") {
  Shared file(O_RDONLY, "abc");
  const auto handle = file.adopt();
  CHECK(file.home.error(wire::Write{handle, 0}, "x") == EBADF);
  CHECK(file.home.content("file") == "abc");
}
