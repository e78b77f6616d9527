// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/nodes.h"

#include <doctest/doctest.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

FileId id(std::uint64_t ino, std::uint32_t type = S_IFREG, std::int64_t birth = 1) {
  return {1, ino, birth, type};
}

}  // namespace

TEST_CASE("a node lives while it is given, open, a root, or above another") {
  Nodes nodes(8);
  Node& root = nodes.meet(id(1, S_IFDIR), 1, nullptr, "/");
  nodes.set_root(root, true);
  Node& dir = nodes.meet(id(2, S_IFDIR), 1, &root, "dir");
  Node& file = nodes.meet(id(3), 1, &dir, "file");
  nodes.give(dir);
  nodes.give(file);
  nodes.give(file);
  const auto dir_number = dir.number, file_number = file.number;
  CHECK(root.number == Nodes::first);
  CHECK(path_of(file) == "/dir/file");

  nodes.forget(dir_number, 1);
  CHECK(nodes.find(dir_number) == &dir);
  nodes.forget(file_number, 1);
  CHECK(nodes.find(file_number) == &file);
  nodes.opened(file);
  nodes.forget(file_number, 99);  // more than was given
  CHECK(nodes.find(file_number) == &file);
  nodes.closed(file);
  CHECK(nodes.find(file_number) == nullptr);
  CHECK(nodes.find(dir_number) == nullptr);
  CHECK(nodes.size() == 1);
  nodes.forget(4711, 1);  // never given

  Node& again = nodes.meet(id(3), 1, &root, "file");
  CHECK(again.number > file_number);
}

TEST_CASE("a reused inode number is another node, hard links are one") {
  Nodes nodes(8);
  Node& root = nodes.meet(id(1, S_IFDIR), 1, nullptr, "/");
  Node& file = nodes.meet(id(2), 1, &root, "a");
  CHECK(&nodes.meet(id(2), 1, &root, "b") == &file);
  CHECK(&nodes.meet(id(2, S_IFREG, 2), 1, &root, "a") != &file);
  CHECK(&nodes.meet(id(2, S_IFDIR), 1, &root, "a") != &file);
}

TEST_CASE("directories never seem to lie in each other") {
  Nodes nodes(8);
  Node& root = nodes.meet(id(1, S_IFDIR), 1, nullptr, "/");
  Node& a = nodes.meet(id(2, S_IFDIR), 1, &root, "a");
  Node& b = nodes.meet(id(3, S_IFDIR), 1, &a, "b");
  nodes.meet(id(2, S_IFDIR), 1, &b, "a");  // moved at home, and b's new place not seen yet
  CHECK(path_of(b) == "/a/b");
}

TEST_CASE("descriptors are closed, and opened again when the name still leads there") {
  TestHome home;
  home.write("one", "1");
  home.write("two", "2");
  Nodes nodes(1);
  struct statx status;
  const auto meet = [&](Node* dir, const std::string& name) -> Node& {
    REQUIRE(stat_at(AT_FDCWD, dir ? home.path(name).c_str() : name.c_str(), status) == 0);
    return nodes.meet(id_of(status), 1, dir, name);
  };
  Node& root = meet(nullptr, home.path());
  Node &one = meet(&root, "one"), &two = meet(&root, "two");
  nodes.give(one);
  nodes.give(two);
  CHECK(nodes.descriptors() == 0);
  const auto kept = nodes.descriptor(one);
  REQUIRE(kept);
  CHECK(nodes.descriptor(two));
  CHECK(nodes.descriptors() == 1);
  CHECK(::fcntl((*kept)->get(), F_GETFD) >= 0);  // still ours, though closed in the table

  SUBCASE("moved by us") {
    std::filesystem::rename(home.path("one"), home.path("three"));
    nodes.renamed(one, root, "three");
    CHECK(nodes.descriptor(one));
  }
  SUBCASE("moved at home, unseen") {
    std::filesystem::rename(home.path("one"), home.path("three"));
    CHECK(nodes.descriptor(one).error() == ESTALE);
  }
  SUBCASE("another file has the name") {
    std::filesystem::rename(home.path("two"), home.path("one"));
    CHECK(nodes.descriptor(one).error() == ESTALE);
  }
  SUBCASE("what has no name stays open") {
    CHECK(nodes.descriptor(one));
    ::unlink(home.path("one").c_str());
    nodes.unnamed(one, root, "one");
    nodes.close_idle();
    CHECK(nodes.descriptor(one));
    CHECK(nodes.descriptors() == 1);
  }
  SUBCASE("nothing stays when idle") {
    nodes.close_idle();
    CHECK(nodes.descriptors() == 0);
  }
}
