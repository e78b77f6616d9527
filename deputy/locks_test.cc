// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/locks.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <cerrno>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

constexpr std::uint64_t alice = 1001, bob = 1002;  // owners

wire::LockRange range(int type, std::int64_t start = 0, std::int64_t length = 0) {
  return {type, start, length, 0};
}

// A file that a guest has open twice, and home once.
struct LockedFile {
  TestHome home;
  std::uint64_t node = 0, one = 0, other = 0;
  Fd here;
  LockedFile(int flags = O_RDWR, const std::string& name = "f") {
    home.write(name, "0123456789");
    node = home.look(home.root(), name).node;
    one = home.open(node, flags);
    other = home.open(node, O_RDWR);
    here.reset(::open(home.path(name).c_str(), O_RDWR | O_CLOEXEC));
  }
  int set(std::uint64_t handle, std::uint64_t owner, const wire::LockRange& range) {
    return home.error(wire::SetLock{handle, owner, range, 0});
  }
  // Another process at home, by the classic locks.
  int here_sets(short type, off_t start = 0, off_t length = 0) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = length;
    return ::fcntl(here.get(), F_SETLK, &lock) == 0 ? 0 : errno;
  }
  // Asks, and does not wait for the answer.
  void later(const wire::SetLock& request, int& answer) {
    home.guest().call(request, {}, [&answer](Result<wire::Locked> reply, std::string_view) {
      answer = reply ? 0 : reply.error().code.value();
    });
    home.tell(wire::CancelLock{~0ULL});  // so that it has been served
  }
  void turn(int& answer) {  // of the loop, until it is answered
    for (int turns = 0; answer < 0 && turns < 200; ++turns) {
      Timer timer(home.loop());
      timer.once(5, [&] { home.loop().stop(); });
      home.loop().run();
    }
  }
};

}  // namespace

TEST_CASE("owners, home and ranges are kept apart") {
  LockedFile file;
  CHECK(file.set(file.one, alice, range(F_WRLCK, 0, 10)) == 0);
  CHECK(file.set(file.one, bob, range(F_WRLCK, 9, 1)) ==
        EAGAIN);  // through the same handle: a child of fork(2)
  CHECK(file.set(file.one, bob, range(F_WRLCK, 10, 10)) == 0);
  CHECK(file.here_sets(F_RDLCK, 5, 1) == EAGAIN);
  CHECK(file.here_sets(F_RDLCK, 15, 1) == EAGAIN);
  CHECK(file.here_sets(F_WRLCK, 20, 5) == 0);
  CHECK(file.set(file.other, alice, range(F_WRLCK, 24, 1)) == EAGAIN);
  CHECK(file.set(file.other, alice, range(F_UNLCK, 0, 5)) == 0);  // one owner, whichever handle
  CHECK(file.here_sets(F_WRLCK, 0, 5) == 0);
  CHECK(file.set(file.one, bob, range(F_WRLCK, 0, 1)) == EAGAIN);
  CHECK(file.set(file.one, bob, range(F_RDLCK, 5, 1)) == EAGAIN);
}

TEST_CASE("read locks are shared, and become a write lock through another handle") {
  LockedFile file(O_RDONLY);
  CHECK(file.set(file.one, alice, range(F_RDLCK, 0, 10)) == 0);
  CHECK(file.set(file.one, alice, range(F_WRLCK, 50, 1)) == EBADF);
  CHECK(file.set(file.other, bob, range(F_RDLCK)) == 0);
  CHECK(file.here_sets(F_RDLCK) == 0);
  CHECK(file.here_sets(F_UNLCK) == 0);
  CHECK(file.set(file.other, alice, range(F_WRLCK, 0, 1)) == EAGAIN);
  CHECK(file.set(file.other, bob, range(F_UNLCK)) == 0);
  CHECK(file.set(file.other, alice, range(F_WRLCK, 0, 1)) == 0);
  CHECK(file.here_sets(F_RDLCK, 0, 1) == EAGAIN);
  CHECK(file.here_sets(F_WRLCK, 5, 1) == EAGAIN);  // still read-locked
  CHECK(file.here_sets(F_RDLCK, 5, 1) == 0);
}

TEST_CASE("who is in the way") {
  LockedFile file;
  auto mine = range(F_WRLCK, 3, 4);
  mine.pid = 77;
  CHECK(file.set(file.one, alice, mine) == 0);
  const auto found = file.home.ask(wire::GetLock{file.other, bob, range(F_RDLCK)});
  REQUIRE(found);
  CHECK((found->type == F_WRLCK && found->start == 3 && found->length == 4 && found->pid == 77));
  CHECK(file.home.ask(wire::GetLock{file.other, alice, range(F_WRLCK)})->type == F_UNLCK);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(file.here_sets(F_RDLCK, 90, 1));
  ::waitpid(child, nullptr, 0);
  CHECK(file.here_sets(F_RDLCK, 90, 1) == 0);
  const auto home = file.home.ask(wire::GetLock{file.other, alice, range(F_WRLCK, 90, 0)});
  CHECK((home->type == F_RDLCK && home->start == 90 && home->pid == 0));
}

TEST_CASE("closing ends a process's locks, and the last close those of the description") {
  LockedFile file;
  CHECK(file.set(file.one, alice, range(F_WRLCK, 0, 1)) == 0);
  CHECK(file.set(file.one, bob, range(F_WRLCK, 1, 1)) == 0);
  CHECK(file.home.error(wire::Flush{file.other, alice}) == 0);  // any descriptor of the file, as POSIX has it
  CHECK(file.here_sets(F_WRLCK, 0, 1) == 0);
  CHECK(file.here_sets(F_WRLCK, 1, 1) == EAGAIN);
  file.home.tell(wire::Release{file.other});
  CHECK(file.here_sets(F_WRLCK, 1, 1) == EAGAIN);
  file.home.tell(wire::Release{file.one});
  CHECK(file.here_sets(F_WRLCK, 1, 1) == 0);
}

TEST_CASE("the session's end is the end of its locks") {
  LockedFile file;
  CHECK(file.set(file.one, alice, range(F_WRLCK)) == 0);
  CHECK(file.home.error(wire::Flock{file.one, LOCK_EX, 0}) == 0);
  CHECK(file.here_sets(F_WRLCK) == EAGAIN);
  file.home.lose();
  CHECK(file.here_sets(F_WRLCK) == 0);
  CHECK(::flock(file.here.get(), LOCK_EX | LOCK_NB) == 0);
}

TEST_CASE("waiting: granted, by home within the back-off and by the guest at once; or cancelled") {
  LockedFile file;
  int granted = -1, cancelled = -1;
  CHECK(file.here_sets(F_WRLCK) == 0);
  file.later({file.one, alice, range(F_WRLCK), 1}, granted);
  file.later({file.other, bob, range(F_WRLCK), 2}, cancelled);
  CHECK((granted == -1 && cancelled == -1));
  CHECK(file.here_sets(F_UNLCK) == 0);
  file.turn(granted);
  CHECK(granted == 0);
  CHECK(file.here_sets(F_RDLCK) == EAGAIN);
  CHECK(cancelled == -1);
  file.home.tell(wire::CancelLock{2});
  CHECK(cancelled == EINTR);
  int second = -1;
  file.later({file.other, bob, range(F_RDLCK), 3}, second);
  CHECK(file.set(file.one, alice, range(F_UNLCK)) == 0);
  file.turn(second);
  CHECK(second == 0);
  int freed = -1;
  file.later({file.one, alice, range(F_WRLCK), 4}, freed);
  file.home.tell(wire::Release{file.one});  // its task was killed
  CHECK(freed == EINTR);
}

TEST_CASE("flock is the handle's") {
  LockedFile file;
  CHECK(file.home.error(wire::Flock{file.one, LOCK_SH, 0}) == 0);
  CHECK(file.home.error(wire::Flock{file.other, LOCK_SH, 0}) == 0);
  CHECK(file.home.error(wire::Flock{file.one, LOCK_EX, 0}) == EAGAIN);  // and what it had is lost, as at home
  CHECK(file.home.error(wire::Flock{file.other, LOCK_EX, 0}) == 0);
  CHECK(::flock(file.here.get(), LOCK_SH | LOCK_NB) != 0);
  CHECK(file.here_sets(F_WRLCK) == 0);  // another kind of lock
  CHECK(file.home.error(wire::Flush{file.other, alice}) == 0);
  CHECK(::flock(file.here.get(), LOCK_SH | LOCK_NB) != 0);
  file.home.tell(wire::Release{file.other});
  CHECK(::flock(file.here.get(), LOCK_SH | LOCK_NB) == 0);
  CHECK(file.home.error(wire::Flock{file.one, LOCK_EX | LOCK_NB, 0}) == EINVAL);
}

TEST_CASE("a thousand wait, and all are granted") {
  LockedFile file;
  CHECK(file.here_sets(F_WRLCK) == 0);
  std::vector<int> answers(1000, -1);
  for (std::size_t i = 0; i < answers.size(); ++i)
    file.home.guest().call(wire::SetLock{file.one, 5000 + i, range(F_RDLCK), 100 + i}, {},
                           [&, i](Result<wire::Locked> reply, std::string_view) {
                             answers[i] = reply ? 0 : reply.error().code.value();
                           });
  file.home.tell(wire::CancelLock{1});
  CHECK(answers.back() == -1);
  CHECK(file.here_sets(F_UNLCK) == 0);
  for (auto& answer : answers) file.turn(answer);
  for (const auto& answer : answers) REQUIRE(answer == 0);
}

TEST_CASE("a wal-index is used by the owners of one guest, or at home") {
  LockedFile file(O_RDWR, "db-shm");
  const auto in_the_way = [&](std::uint64_t handle, std::uint64_t owner) {
    return file.home.ask(wire::GetLock{handle, owner, range(F_WRLCK, 128, 1)})->type;
  };
  CHECK(in_the_way(file.one, alice) == F_UNLCK);
  CHECK(file.set(file.one, alice, range(F_WRLCK, 128, 1)) == 0);
  CHECK(in_the_way(file.other, bob) == F_WRLCK);
  CHECK(file.set(file.other, bob, range(F_RDLCK, 128, 1)) == EAGAIN);
  CHECK(file.set(file.one, alice, range(F_RDLCK, 128, 1)) == 0);
  CHECK(in_the_way(file.other, bob) == F_RDLCK);
  CHECK(in_the_way(file.one, alice) == F_UNLCK);
  CHECK(file.set(file.other, bob, range(F_RDLCK, 128, 1)) == 0);
  CHECK(file.here_sets(F_RDLCK, 128, 1) == EAGAIN);
  CHECK(file.here_sets(F_WRLCK, 120, 8) == 0);  // the others are as everywhere
  CHECK(file.set(file.one, alice, range(F_RDLCK, 120, 1)) == EAGAIN);
  CHECK(file.set(file.one, alice, range(F_UNLCK, 128, 1)) == 0);
  CHECK(file.here_sets(F_RDLCK, 128, 1) == EAGAIN);
  CHECK(file.set(file.other, bob, range(F_UNLCK)) == 0);
  CHECK(file.here_sets(F_RDLCK, 128, 1) == 0);
  CHECK(file.set(file.one, alice, range(F_RDLCK, 128, 1)) == EAGAIN);
  // The deputy is this process here, and when it closed its descriptor our own lock went as well.
  CHECK(file.set(file.one, alice, range(F_RDLCK, 128, 1)) == 0);
}
