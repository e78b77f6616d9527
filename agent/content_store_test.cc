// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/content_store.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "common/test_folder.h"

using namespace ssi;

namespace {

constexpr std::uint64_t one_page = ContentStore::page;

struct Room {
  TestFolder folder;
  Loop loop;
  std::shared_ptr<ContentStore> store;
  explicit Room(std::uint64_t limit = 100 * one_page) { open(limit); }
  void open(std::uint64_t limit = 100 * one_page) {
    store = ContentStore::open(loop, Fd(::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), limit);
    loop.run();
  }
  void put(const ContentStore::Key& key, std::uint64_t offset, const std::string& bytes) {
    store->put(key, offset, bytes);
    loop.run();
  }
  std::optional<std::string> read(const ContentStore::Key& key, std::uint64_t offset, std::uint32_t size) {
    std::optional<std::string> got;
    if (!store->read(key, offset, size, [&](int error, std::string_view bytes) {
          if (!error) got = std::string(bytes);
        }))
      return {};
    loop.run();
    return got;
  }
  std::size_t files() const {
    using Iterator = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(std::distance(Iterator(folder.path()), Iterator()));
  }
};

ContentStore::Key key(std::uint64_t ino, std::uint64_t size, std::int64_t ctime = 5) { return {1, ino, size, 3, ctime}; }

}  // namespace

TEST_CASE("what was put is read, by the very state of the file") {
  Room room;
  const std::string text(one_page + 100, 'a');
  room.put(key(1, text.size()), 0, text);
  CHECK(room.read(key(1, text.size()), 0, 2 * one_page) == text);
  CHECK(room.read(key(1, text.size()), one_page, one_page) == text.substr(one_page));
  CHECK(room.read(key(1, text.size()), 10, 5) == "aaaaa");
  CHECK_FALSE(room.read(key(1, text.size(), 6), 0, one_page));
  CHECK_FALSE(room.read(key(1, text.size() + 1), 0, one_page));
  CHECK_FALSE(room.read(key(2, text.size()), 0, one_page));
  CHECK_FALSE(room.read({2, 1, text.size(), 3, 5}, 0, one_page));
  CHECK_FALSE(room.read(key(1, text.size()), 2 * one_page, one_page));
}

TEST_CASE("of a part whole pages are kept, and parts come together") {
  Room room;
  const auto file = key(1, 10 * one_page);
  room.put(file, one_page - 1, std::string(2 * one_page, 'b'));  // one page, and a bit at each end
  CHECK(room.store->used() == one_page);
  CHECK_FALSE(room.read(file, one_page - 1, 2));
  CHECK_FALSE(room.read(file, one_page, 2 * one_page));
  CHECK(room.read(file, one_page, one_page) == std::string(one_page, 'b'));
  room.put(file, 2 * one_page, std::string(one_page, 'c'));
  CHECK(room.read(file, one_page, 2 * one_page) == std::string(one_page, 'b') + std::string(one_page, 'c'));
  room.put(file, 0, "less than a page");
  CHECK_FALSE(room.read(file, 0, 5));
}

TEST_CASE("another session finds it, with its holes") {
  Room room;
  const auto file = key(1, 10 * one_page);
  room.put(file, 3 * one_page, std::string(one_page, 'd'));
  room.put(file, 7 * one_page, std::string(one_page, '\0'));  // zeros are content
  room.put(key(2, 5), 0, "hello");
  room.open();
  CHECK(room.store->used() == 3 * one_page);
  CHECK(room.read(file, 3 * one_page, one_page) == std::string(one_page, 'd'));
  CHECK(room.read(file, 7 * one_page, one_page) == std::string(one_page, '\0'));
  CHECK_FALSE(room.read(file, 4 * one_page, one_page));
  CHECK(room.read(key(2, 5), 0, one_page) == "hello");
}

TEST_CASE("what was used longest ago makes room, also over sessions") {
  Room room(8 * one_page);
  for (std::uint64_t ino = 1; ino <= 8; ++ino) {
    room.put(key(ino, one_page), 0, std::string(one_page, 'e'));
    ::usleep(10'000);  // of which the files' times tell
  }
  room.open(8 * one_page);
  CHECK(room.read(key(1, one_page), 0, one_page));
  room.put(key(9, one_page), 0, std::string(one_page, 'f'));
  CHECK(room.store->used() == 8 * one_page);
  CHECK(room.files() == 8);
  CHECK_FALSE(room.read(key(2, one_page), 0, one_page));
  CHECK(room.read(key(1, one_page), 0, one_page));
  CHECK(room.read(key(9, one_page), 0, one_page));
  for (std::uint64_t at = 0; at < 6; ++at) room.put(key(10, 6 * one_page), at * one_page, std::string(one_page, 'g'));
  CHECK(room.read(key(10, 6 * one_page), 3 * one_page, one_page));
  CHECK_FALSE(room.read(key(10, 6 * one_page), 4 * one_page, one_page));  // half of the room
  room.open(5 * one_page);
  CHECK(room.files() == 2);
}

TEST_CASE("what is no file of ours is removed, and who takes one away is noticed") {
  Room room;
  std::ofstream(room.folder.path() + "/1-2-3") << "x";
  std::ofstream(room.folder.path() + "/" + ContentStore::name_of(key(1, 2))) << "longer";
  std::ofstream(room.folder.path() + "/" + ContentStore::name_of(key(2, 4))) << "good";
  REQUIRE(::symlink("/etc/passwd", (room.folder.path() + "/" + ContentStore::name_of(key(3, 4))).c_str()) == 0);
  room.open();
  CHECK(room.files() == 1);
  CHECK(room.read(key(2, 4), 0, 4) == "good");
  std::filesystem::remove(room.folder.path() + "/" + ContentStore::name_of(key(2, 4)));
  CHECK_FALSE(room.read(key(2, 4), 0, 4));
  CHECK(room.store->used() == 0);
}

TEST_CASE("names tell negative times too") {
  Room room;
  const ContentStore::Key old{~0ULL, ~0ULL, 3, -1, -2'000'000'000};
  room.put(old, 0, "old");
  room.open();
  CHECK(room.read(old, 0, 3) == "old");
}

TEST_CASE("of a file that could not be written whole nothing is believed") {
  Room room;
  const auto file = key(1, ~0ULL);
  room.store->put(key(2, one_page), 0, std::string(one_page, 'x'));  // is being written while the others come
  room.store->put(file, 1ULL << 63, std::string(one_page, 'a'));     // no file is so large
  room.store->put(file, 50 * one_page, std::string(one_page, 'b'));
  room.loop.run();
  CHECK_FALSE(room.store->has(file, 50 * one_page, one_page));
  CHECK(room.read(key(2, one_page), 0, one_page));
  room.put(file, 60 * one_page, std::string(one_page, 'c'));
  CHECK_FALSE(room.read(file, 50 * one_page, one_page));
  CHECK(room.read(file, 60 * one_page, one_page) == std::string(one_page, 'c'));
}
