// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <sys/stat.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();
constexpr std::uint64_t gib = 1ULL << 30;

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

}  // namespace

TEST_CASE("reads are short only at the end of the file") {
  TestHome home;
  const auto bytes = pattern(300'000);
  home.write("file", bytes);
  home.write("empty", "");
  const auto handle = home.open(home.look(home.root(), "file").node, O_RDONLY);
  std::string all;
  for (;;) {
    const auto part = home.read(handle, all.size(), wire::max_body);
    if (part.empty()) break;
    all += part;
    CHECK((part.size() == wire::max_body || all.size() == bytes.size()));
  }
  CHECK(all == bytes);
  CHECK(home.server().bytes_read() == bytes.size());
  CHECK(home.read(handle, 299'999, 10) == bytes.substr(299'999));
  CHECK(home.read(handle, 400'000, 10).empty());
  CHECK(home.read(handle, 0, 0).empty());
  CHECK(home.error(wire::Read{handle, 0, wire::max_body + 1}) == EINVAL);
  CHECK(home.error(wire::Read{handle, 1ULL << 63, 1}) == EINVAL);
  CHECK(home.read(home.open(home.look(home.root(), "empty").node, O_RDONLY), 0, 4096).empty());
}

TEST_CASE("what is not in the page cache is read as well") {
  TestHome home;
  const auto bytes = pattern(200'000);
  home.write("file", bytes);
  const auto path = home.path("file");
  const Fd fd(::open(path.c_str(), O_RDONLY));
  ::fsync(fd.get());
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  const auto handle = home.open(home.look(home.root(), "file").node, O_RDONLY);
  CHECK(home.read(handle, 100, wire::max_body) == bytes.substr(100, wire::max_body));
}

TEST_CASE("changes of a handle keep their order; appends from two handles all land") {
  TestHome home;
  home.write("file", "");
  const auto node = home.look(home.root(), "file").node;
  const auto handle = home.open(node, O_RDWR);
  int replies = 0;
  const auto count = [&](Result<wire::Written> written, std::string_view) {
    CHECK(written);
    ++replies;
  };
  for (int i = 0; i < 200; ++i) home.guest().call(wire::Write{handle, 0}, std::to_string(i) + "\n", count);
  CHECK(home.error(wire::Fsync{handle, 0}) == 0);  // behind them all
  CHECK(replies == 200);
  CHECK(home.content("file").substr(0, 4) == "199\n");
  CHECK(home.effects().last() == 200);

  const auto one = home.open(node, O_WRONLY | O_APPEND | O_TRUNC), two = home.open(node, O_WRONLY | O_APPEND);
  replies = 0;
  for (int i = 0; i < 300; ++i) {
    home.guest().call(wire::Write{one, 0, 1}, "one line\n", count);
    home.guest().call(wire::Write{two, 0, 1}, "two line\n", count);
  }
  CHECK(home.error(wire::Fsync{one, 0}) == 0);
  CHECK(home.error(wire::Fsync{two, 0}) == 0);
  CHECK(replies == 600);
  const auto text = home.content("file");
  CHECK(text.size() == 600 * 9);
  std::size_t lines = 0;
  for (std::size_t at = 0; at + 9 <= text.size(); at += 9) lines += text.substr(at + 3, 6) == " line\n";
  CHECK(lines == 600);
}

TEST_CASE("whether a write appends is said with each one") {
  TestHome home;
  home.write("file", "0123456789");
  const auto node = home.look(home.root(), "file").node;
  const auto appends = home.open(node, O_WRONLY | O_APPEND), places = home.open(node, O_RDWR);
  CHECK(home.ask(wire::Write{appends, 2, 1}, "end")->size == 3);
  CHECK(home.ask(wire::Write{appends, 2, 0}, "A")->size ==
        1);  // a mapping's page, or O_APPEND was taken away
  CHECK(home.ask(wire::Write{places, 0, 1}, "END")->size == 3);
  CHECK(home.ask(wire::Write{places, 4, 0}, "B")->size == 1);
  CHECK(home.ask(wire::Write{appends, 0, 1}, ".")->size == 1);
  CHECK(home.content("file") == "01A3B56789endEND.");
}

TEST_CASE("5 GiB, sparse") {
  TestHome home;
  const auto handle = home.next_handle();
  const auto file = home.ask(wire::Create{home.root(), "sparse", 0600, O_RDWR, handle, me});
  REQUIRE(file);
  CHECK(home.ask(wire::Write{handle, 5 * gib - 3}, "end")->size == 3);
  const auto attr = home.ask(wire::Getattr{file->node, handle});
  CHECK(attr->size == 5 * gib);
  CHECK(attr->blocks < 1000);
  CHECK(home.read(handle, 5 * gib - 4, 100) == std::string("\0end", 4));
  const auto data = home.ask(wire::Seek{handle, 0, SEEK_DATA});
  REQUIRE(data);
  CHECK(data->offset > 4LL << 30);
  CHECK(home.ask(wire::Seek{handle, 0, SEEK_HOLE})->offset == 0);
  CHECK(home.error(wire::Seek{handle, 6LL << 30, SEEK_DATA}) == ENXIO);
  CHECK(home.error(wire::Seek{handle, 0, SEEK_SET}) == EINVAL);
  auto cut = TestHome::setting(file->node, wire::Setattr::set_size);
  cut.handle = handle;
  cut.size = 4 * gib + 1;
  CHECK(home.ask(cut)->size == 4 * gib + 1);
  CHECK(home.error(wire::Fallocate{handle, 0, 5 * gib, 4096}) == 0);
  CHECK(home.ask(wire::Getattr{file->node, 0})->size == 5 * gib + 4096);
}

TEST_CASE("ranges are copied at home") {
  TestHome home;
  home.write("from", pattern(10'000));
  home.write("to", "");
  const auto from = home.open(home.look(home.root(), "from").node, O_RDONLY);
  const auto to = home.open(home.look(home.root(), "to").node, O_RDWR);
  CHECK(home.ask(wire::CopyRange{from, 100, to, 0, 5'000})->size == 5'000);
  CHECK(home.content("to") == pattern(10'000).substr(100, 5'000));
  CHECK(home.error(wire::CopyRange{4711, 0, to, 0, 1}) == EBADF);
  CHECK(home.error(wire::CopyRange{from, 0, 4711, 0, 1}) == EBADF);
  CHECK(home.error(wire::CopyRange{to, 0, from, 0, 1}) == EBADF);
}

TEST_CASE("a full disk says so at the call") {
  if (!can_mount()) return;
  TestHome home({.tmpfs = "size=1m,nr_inodes=8,mode=0755"});
  const auto handle = home.next_handle();
  REQUIRE(home.ask(wire::Create{home.root(), "file", 0600, O_RDWR, handle, me}));
  std::uint64_t written = 0;
  const auto bytes = pattern(wire::max_body);
  int error = 0;
  for (int i = 0; i < 20 && !error; ++i) {
    const auto answer = home.ask(wire::Write{handle, written}, bytes);
    error = answer ? 0 : answer.error();
    written += answer ? answer->size : 0;
  }
  CHECK(error == ENOSPC);
  CHECK(written == 1 << 20);
  CHECK(home.server().bytes_written() == written);
  CHECK(home.error(wire::Fallocate{handle, 0, 0, 2 << 20}) == ENOSPC);
  for (int i = 0; i < 10 && error != EDQUOT; ++i)
    error = home.error(wire::Mkdir{home.root(), "d" + std::to_string(i), 0700, me});
  CHECK(error == ENOSPC);
}

TEST_CASE("the server may go while threads work for it") {
  TestHome home;
  home.write("file", "");
  const auto handle = home.open(home.look(home.root(), "file").node, O_RDWR);
  int replies = 0;
  const auto bytes = pattern(wire::max_body);
  for (int i = 0; i < 100; ++i)
    home.guest().call(wire::Write{handle, static_cast<std::uint64_t>(i) * bytes.size()}, bytes,
                      [&](Result<wire::Written>, std::string_view) { ++replies; });
  for (int i = 0; i < 100; ++i)
    home.guest().call(wire::Read{handle, 0, 4096}, {}, [&](auto, auto) { ++replies; });
  // The server goes as soon as it has replied once: many changes wait then.
  while (replies == 0) uv_run(home.loop().uv(), UV_RUN_ONCE);
  home.lose();
  Timer timer(home.loop());
  timer.once(200, [&] { home.loop().stop(); });
  home.loop().run();
  CHECK(replies < 200);
  const auto size = std::filesystem::file_size(home.path("file"));
  timer.once(100, [&] { home.loop().stop(); });
  home.loop().run();
  CHECK(std::filesystem::file_size(home.path("file")) == size);
}

TEST_CASE("malformed requests are refused, other frames are not ours") {
  TestHome home;
  Session::Incoming frame{wire::kind_of<wire::Lookup>(), 77, "\xc1", {}};
  CHECK(home.server().handle(frame));
  frame.kind = wire::kind_of<wire::Start>();
  CHECK_FALSE(home.server().handle(frame));
  frame.kind = 9999;
  CHECK_FALSE(home.server().handle(frame));
}
