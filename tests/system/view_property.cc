// SPDX-License-Identifier: LGPL-2.1-or-later
// Property: what several processes, some of them jobs in guests, do to one directory gives what it gives at home.
//   view-property DIRECTORY ACTOR SSIRUN PLACE...     ACTOR: the program of view_actor.c; PLACE: see view_play.h
// RC_PARAMS="seed=N max_success=M" sets what is tried (rapidcheck's documentation, configuration.md); the seed is printed.
#include <fcntl.h>
#include <linux/falloc.h>
#include <rapidcheck.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "tests/system/view_play.h"

namespace {

using rc::Gen;
using ssi::view::Sequence;
using ssi::view::Step;

constexpr long moment = 978307200;  // 2001

Gen<std::string> paths() {
  return rc::gen::element<std::string>("a", "a", "a", "b", "b", "d", "d/a", "d/a", "d/b", "d/b", "d/e", "e",
                                       "e/a", "d/../b");
}

Gen<long> offsets() {
  return rc::gen::weightedOneOf<long>({{4, rc::gen::element(0L, 1L, 100L, 4095L, 4096L, 8192L, 9000L)},
                                       {1, rc::gen::element(20000L, 70000L, 1L << 20)}});
}

Gen<long> amounts() {
  return rc::gen::element(0L, 1L, 7L, 100L, 4000L, 4096L, 10'000L, 40'000L);
}

Gen<int> slots() {
  return rc::gen::element(0, 0, 0, 1, 1, 2, 3);
}

Gen<int> any_byte() {
  return rc::gen::element(1, 2, 3, 5, 8, 13, 21, 34, 55, 89);
}

struct Kind {
  std::size_t weight;
  const char* verb;
  Gen<int> flags;
  Gen<long> offset, amount;
  Gen<std::string> path2;
};

Gen<int> open_flags() {
  const auto extra =
      rc::gen::element(0, 0, 0, O_CREAT, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC,
                       O_APPEND, O_CREAT | O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_SYNC,
                       O_CREAT | O_EXCL | O_SYNC);  // not O_PATH: see docs/view.md
  return rc::gen::map(rc::gen::pair(rc::gen::element(O_RDONLY, O_WRONLY, O_RDWR, O_RDWR), extra),
                      [](const std::pair<int, int>& both) {
                        // O_TRUNC with O_RDONLY is unspecified.
                        const bool odd = both.first == O_RDONLY && (both.second & O_TRUNC);
                        return odd ? O_RDONLY : both.first | both.second;
                      });
}

std::vector<Kind> contents() {
  using namespace rc::gen;
  const auto none = just(0);
  const auto zero = just(0L);
  const auto no_path = just<std::string>("-");
  return {
      {14, "open", open_flags(), zero, element(0644L, 0600L, 0755L, 0444L), no_path},
      {3, "close", none, zero, zero, no_path},
      {5, "read", none, zero, amounts(), no_path},
      {4, "pread", none, offsets(), amounts(), no_path},
      {9, "write", any_byte(), zero, amounts(), no_path},
      {6, "pwrite", any_byte(), offsets(), amounts(), no_path},
      {7, "content", none, zero, zero, no_path},
      {3, "lseek", element(SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE), offsets(), zero, no_path},
      {2, "truncate", none, offsets(), zero, no_path},
      {3, "ftruncate", none, offsets(), zero, no_path},
      {2, "fallocate",
       element(0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE),
       offsets(), amounts(), no_path},
      {3, "copy", element(0, 0, 100, 4096, 9000), offsets(), amounts(), no_path},
      {2, "sendfile", none, offsets(), amounts(), no_path},
      {1, "fsync", element(0, 1), zero, zero, no_path},
      {3, "map", none, zero, zero, no_path},
      {4, "map", any_byte(), offsets(), amounts(), no_path},
      {3, "flock", element(LOCK_SH, LOCK_EX, LOCK_UN), zero, zero, no_path},
      {4, "lock", element(F_RDLCK, F_WRLCK, F_WRLCK, F_UNLCK), element(0L, 5L, 10L), element(0L, 5L, 10L),
       element<std::string>("-", "-", "ofd")},
      {1, "getlock", element(F_RDLCK, F_WRLCK), element(0L, 5L), element(0L, 5L), no_path},
  };
}

std::vector<Kind> names() {
  using namespace rc::gen;
  const auto none = just(0);
  const auto zero = just(0L);
  const auto no_path = just<std::string>("-");
  const auto attribute = element<std::string>("user.one", "user.two");
  return {
      {5, "unlink", none, zero, zero, no_path},
      {3, "rmdir", none, zero, zero, no_path},
      {4, "mkdir", none, zero, element(0755L, 0700L, 0777L, 02755L), no_path},
      {7, "rename", element(0, 0, 0, 1, 2), zero, zero, paths()},  // RENAME_NOREPLACE, RENAME_EXCHANGE
      {5, "link", element(0, 0, AT_SYMLINK_FOLLOW), zero, zero, paths()},
      {3, "symlink", none, zero, zero, paths()},
      {2, "readlink", none, zero, zero, no_path},
      {4, "chmod", none, zero, element(0644L, 0600L, 0755L, 0000L, 01777L, 04755L, 02755L, 06700L), no_path},
      {3, "chown", element(0, AT_SYMLINK_NOFOLLOW), element(-1L, 0L, 7L), element(-1L, 0L, 8L), no_path},
      {1, "fchmod", none, zero, element(0640L, 0700L), no_path},
      {7, "stat", element(0, AT_SYMLINK_NOFOLLOW), zero, zero, no_path},
      {4, "fstat", none, zero, zero, no_path},
      {3, "utimes", element(0, AT_SYMLINK_NOFOLLOW), element(-1L, moment, moment + 1, moment + 86400),
       element(0L, 1L, 999'999'999L), no_path},
      {3, "setxattr", any_byte(), element(0L, 0L, 1L, 2L), element(0L, 1L, 60L), attribute},
      {2, "getxattr", none, zero, element(0L, 1L, 100L), attribute},
      {1, "removexattr", none, zero, zero, attribute},
      {1, "listxattr", none, zero, zero, no_path},
      {4, "list", none, zero, zero, element<std::string>("-")},
      {2, "tree", none, zero, zero, no_path},
  };
}

Gen<Step> step(const Kind& kind) {
  const std::string verb = kind.verb;
  return rc::gen::build<Step>(
      rc::gen::set(&Step::actor, rc::gen::element(0U, 1U, 2U, 3U)),
      rc::gen::set(&Step::verb, rc::gen::just(verb)), rc::gen::set(&Step::path, paths()),
      rc::gen::set(&Step::path2, kind.path2), rc::gen::set(&Step::slot, slots()),
      rc::gen::set(&Step::slot2, slots()), rc::gen::set(&Step::flags, kind.flags),
      rc::gen::set(&Step::offset, kind.offset), rc::gen::set(&Step::amount, kind.amount));
}

// Chooses by weight: a list of all verbs, each as often as it weighs.
Gen<Step> steps() {
  std::vector<Gen<Step>> weighted;
  for (const auto& kinds : {contents(), names()})
    for (const Kind& kind : kinds) weighted.insert(weighted.end(), kind.weight, step(kind));
  return rc::gen::mapcat(rc::gen::elementOf(weighted), [](const Gen<Step>& chosen) { return chosen; });
}

// 1 to 4 actors, and up to 60 steps.
Gen<Sequence> sequences(unsigned places) {
  std::vector<unsigned> all(places);
  for (unsigned place = 0; place < places; ++place) all[place] = place;
  const auto some =
      rc::gen::mapcat(rc::gen::inRange<std::size_t>(1, std::min(places, 4U) + 1), [all](std::size_t count) {
        return rc::gen::unique<std::vector<unsigned>>(count, rc::gen::elementOf(all));
      });
  return rc::gen::build<Sequence>(
      rc::gen::set(&Sequence::places, rc::gen::noShrink(rc::gen::resize(100, some))),
      rc::gen::set(&Sequence::steps, rc::gen::resize(60, rc::gen::container<std::vector<Step>>(steps()))));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: view-property DIRECTORY ACTOR SSIRUN PLACE...\n";
    return 2;
  }
  setenv("RC_PARAMS", "max_success=200", 0);
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> places(argv + 4, argv + argc);
  ssi::view::Stage stage(argv[1], argv[2], argv[3], places);
  const Gen<Sequence> any = sequences(static_cast<unsigned>(places.size()));
  std::string difference;  // of the last that failed, which is the smallest
  const bool held =
      rc::check("a directory that processes at home and in guests share is as one at home", [&] {
        const Sequence sequence = *any;
        const std::string now = stage.play(sequence);
        if (!now.empty()) difference = now;
        RC_ASSERT(now == std::string());
      });
  std::cout << difference;
  return held ? 0 : 1;
}
