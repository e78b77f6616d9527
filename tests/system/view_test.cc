// SPDX-License-Identifier: LGPL-2.1-or-later
// The view with real parts (see view_world.h): FUSE, TLS, the deputy's file server. What a job does in it is
// compared with the same done on a local directory.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "common/fd.h"
#include "tests/system/view_storm.h"
#include "tests/system/view_world.h"

using ssi::Fd;
using ssi::test::Guest;
using ssi::test::run_guest;

namespace {

void put(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs `f` in a child of the job; its exit status, or -1 after `patience` seconds.
int in_child(const std::function<int()>& f, double patience = 20, int kill_with = 0) {
  const auto start = std::chrono::steady_clock::now();
  const auto child = ::fork();
  if (child == 0) ::_exit(f());
  int status = 0;
  if (kill_with) ::usleep(300'000), ::kill(child, kill_with);
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (seconds_since(start) > patience) return -1;
    ::usleep(10'000);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("random calls say and leave behind the same as on a local directory") {
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    CAPTURE(seed);
    CHECK(run_guest([seed](Guest& guest) {
            const auto local = ssi::test::storm(guest.local(), seed, 3000);
            const auto view = ssi::test::storm(guest.view(), seed, 3000);
            int shown = 0;
            for (std::size_t i = 0; i < local.size() && shown < 10; ++i)
              if (!guest.expect(view[i] == local[i], "\n  " + local[i] + "\n  " + view[i])) ++shown;
            const auto left = ssi::test::tree(guest.local());
            guest.expect(left.size() > 5, "that something is left");
            guest.expect(ssi::test::tree(guest.view()) == left, "the view's tree to be the local one");
            guest.expect(ssi::test::tree(guest.home()) == left, "home's tree to be the local one");
            guest.expect(ssi::test::tree(guest.view(), true) == ssi::test::tree(guest.home(), true),
                         "the same times");
          }) == 0);
  }
}

TEST_CASE("programs run from the view, shared mappings reach home, unlinked files live on") {
  CHECK(run_guest([](Guest& guest) {
          std::filesystem::copy_file("/bin/true", guest.home("true"));
          const auto run = [&] {
            return in_child([&] { return ::execl(guest.view("true").c_str(), "true", nullptr), 1; });
          };
          guest.expect(run() == 0, "true to run");
          guest.expect(in_child([&] {
                         if (::chroot(guest.root().c_str()) != 0) return 2;
                         return ::execl("/bin/sh", "sh", "-c", "test $(ls / | wc -l) -gt 5", nullptr), 1;
                       }) == 0,
                       "a shell with home's libraries");

          put(guest.home("mapped"), std::string(10000, 'x'));
          const Fd file(::open(guest.view("mapped").c_str(), O_RDWR));
          auto* bytes =
              static_cast<char*>(::mmap(nullptr, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
          if (!guest.expect(bytes != MAP_FAILED && bytes[9999] == 'x', "a shared mapping")) return;
          std::memcpy(bytes + 5000, "changed", 7);
          guest.expect(::msync(bytes, 10000, MS_SYNC) == 0, "msync");
          ::munmap(bytes, 10000);
          guest.expect(get(guest.home("mapped")).substr(4999, 9) == "xchangedx",
                       "the mapping's change at home");

          guest.expect(::unlink(guest.view("mapped").c_str()) == 0, "unlink");
          char text[8] = {};
          guest.expect(::pread(file.get(), text, 7, 5000) == 7 && std::string(text) == "changed",
                       "an unlinked file");
          struct stat stat;
          guest.expect(::fstat(file.get(), &stat) == 0 && stat.st_nlink == 0 && stat.st_size == 10000,
                       "its stat");
          guest.expect(::fsync(file.get()) == 0 && ::close(::dup(file.get())) == 0, "fsync and close");
        }) == 0);
}

TEST_CASE("10 000 entries, 5 GiB of nothing, names of all bytes") {
  CHECK(run_guest([](Guest& guest) {
          std::filesystem::create_directory(guest.home("many"));
          for (int i = 0; i < 10'000; ++i) put(guest.home("many/file" + std::to_string(i)), "");
          // A machine that stands still for a second lets names expire, so the best walk of three counts.
          auto fewest = ~std::uint64_t{0};
          for (int walk = 0; walk < 3; ++walk) {
            const auto before = guest.asked().lookups;
            std::set<std::string> seen;
            for (const auto& entry : std::filesystem::directory_iterator(guest.view("many"))) {
              guest.expect(entry.is_regular_file() && ::access(entry.path().c_str(), F_OK) == 0, "a file");
              guest.expect(seen.insert(entry.path().filename()).second, "each name once");
            }
            guest.expect(seen.size() == 10'000, "10 000 names, not " + std::to_string(seen.size()));
            fewest = std::min<std::uint64_t>(fewest, guest.asked().lookups - before);
            std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the next one knows none of them
          }
          guest.expect(fewest < 2000, "no lookup for each name, not " + std::to_string(fewest));

          constexpr off_t huge = 5ll << 30;
          const Fd sparse(::open(guest.view("sparse").c_str(), O_RDWR | O_CREAT, 0644));
          guest.expect(
              ::ftruncate(sparse.get(), huge) == 0 && ::pwrite(sparse.get(), "end", 3, huge - 3) == 3,
              "a hole");
          guest.expect(::lseek(sparse.get(), 0, SEEK_DATA) > huge - (1 << 20), "SEEK_DATA");
          guest.expect(::lseek(sparse.get(), 0, SEEK_HOLE) == 0, "SEEK_HOLE");
          char text[3];
          guest.expect(::pread(sparse.get(), text, 3, huge - 3) == 3 && std::memcmp(text, "end", 3) == 0,
                       "its end");
          struct stat stat;
          guest.expect(::stat(guest.view("sparse").c_str(), &stat) == 0 && stat.st_size == huge &&
                           stat.st_blocks < 100,
                       "its size and blocks");

          std::string every;
          for (int byte = 1; byte < 256; ++byte)
            if (byte != '/') every.push_back(static_cast<char>(byte));
          every += "z";  // 255 bytes
          put(guest.view(every), "odd");
          guest.expect(get(guest.home(every)) == "odd", "a name of all bytes");
          guest.expect(::mkdir(guest.view(every + "z").c_str(), 0777) == -1 && errno == ENAMETOOLONG,
                       "ENAMETOOLONG");
          std::size_t found = 0;
          for (const auto& entry : std::filesystem::directory_iterator(guest.view()))
            if (entry.path().filename() == every) ++found;
          guest.expect(found == 1, "it in readdir");
        }) == 0);
}

TEST_CASE("big files both ways, appends of two handles, space") {
  CHECK(run_guest([](Guest& guest) {
          std::string bytes(20 << 20, '\0');
          for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 7);
          put(guest.view("out"), bytes);
          guest.expect(get(guest.home("out")) == bytes, "20 MiB written");
          const auto asked = guest.asked();
          guest.expect(asked.writes == 160 && asked.getxattrs < 5,
                       "full-sized writes, and no getxattr for each");
          put(guest.home("in"), bytes);
          guest.expect(get(guest.view("in")) == bytes, "20 MiB read");
          const Fd one(::open(guest.view("log").c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600));
          const Fd other(::open(guest.home("log").c_str(), O_WRONLY | O_APPEND));
          for (int i = 0; i < 300; ++i)
            if (::write(one.get(), "guest\n", 6) != 6 || ::write(other.get(), "home_\n", 6) != 6) break;
          guest.expect(get(guest.home("log")).size() == 3600, "600 of 600 lines");
          guest.expect(get(guest.view("log")) == get(guest.home("log")), "the same lines");
          struct statvfs here, there;
          guest.expect(::statvfs(guest.view().c_str(), &there) == 0 &&
                           ::statvfs(guest.home().c_str(), &here) == 0 && here.f_blocks == there.f_blocks &&
                           here.f_bsize == there.f_bsize && here.f_namemax == there.f_namemax,
                       "statvfs");
        }) == 0);
}

TEST_CASE("another of home's file systems: own st_dev, EXDEV, ENOSPC, and a mount point that stays") {
  const auto mount_small = [](const std::string& base) {
    std::filesystem::create_directories(base + "/home/dir/small");
    REQUIRE(::mount("tmpfs", (base + "/home/dir/small").c_str(), "tmpfs", 0, "size=1m,mode=755") == 0);
    put(base + "/home/dir/small/file", "small");
  };
  CHECK(run_guest(
            [](Guest& guest) {
              struct stat dir, small, file, outside;
              guest.expect(::stat(guest.view("dir").c_str(), &dir) == 0 &&
                               ::stat(guest.view("dir/small").c_str(), &small) == 0 &&
                               ::stat(guest.view("dir/small/file").c_str(), &file) == 0,
                           "stat");
              guest.expect(dir.st_dev != small.st_dev && small.st_dev == file.st_dev, "st_dev");
              guest.expect(::stat(guest.home("dir/small/file").c_str(), &outside) == 0 &&
                               outside.st_ino == file.st_ino,
                           "st_ino");
              guest.expect(get(guest.view("dir/small/file")) == "small", "its content");
              guest.expect(::rename(guest.view("dir/small/file").c_str(), guest.view("file").c_str()) == -1 &&
                               errno == EXDEV,
                           "EXDEV");
              guest.expect(::rmdir(guest.view("dir/small").c_str()) == -1 && errno == EBUSY, "EBUSY");
              guest.expect(::mkdir(guest.view("dir/small").c_str(), 0777) == -1 && errno == EEXIST, "EEXIST");
              const Fd full(::open(guest.view("dir/small/full").c_str(), O_WRONLY | O_CREAT, 0644));
              const std::string bytes(2 << 20, 'f');
              ssize_t done = 0, got;
              while ((got = ::write(full.get(), bytes.data(), bytes.size())) > 0) done += got;
              guest.expect(got == -1 && errno == ENOSPC && done > 0 && done < (1 << 20) + 1, "ENOSPC");

              // Whatever is invalidated around it, what is mounted stays mounted.
              for (int round = 0; round < 3; ++round) {
                put(guest.home("dir/new" + std::to_string(round)), "");
                ::chmod(guest.home("dir").c_str(), round % 2 ? 0700 : 0755);
                guest.expect(::access(guest.view("dir/nothing").c_str(), F_OK) != 0, "nothing");
                guest.barrier();
                ::usleep(400'000);
                guest.expect(get(guest.view("dir/small/file")) == "small", "what is mounted to stay");
                guest.expect(
                    ::stat(guest.view("dir/small").c_str(), &small) == 0 && small.st_dev == file.st_dev,
                    "its st_dev");
              }
              std::size_t entries = 0;
              for (const auto& entry : std::filesystem::directory_iterator(guest.view("dir")))
                entries += entry.is_directory();
              guest.expect(entries == 1, "it among the directory's entries");
            },
            mount_small) == 0);
}

TEST_CASE("the guest's own /proc, /sys and /dev") {
  CHECK(run_guest([](Guest& guest) {
          for (const std::string name : {"/proc", "/sys", "/dev"}) {
            const auto path = guest.root() + name;
            guest.expect(std::filesystem::is_directory(path) && std::filesystem::is_empty(path), path);
            guest.expect(::access((path + "/null").c_str(), F_OK) == -1 && errno == ENOENT, "nothing in it");
            guest.expect(::open((path + "/new").c_str(), O_CREAT | O_WRONLY, 0644) == -1 && errno == EROFS,
                         "EROFS");
            guest.expect(::rmdir(path.c_str()) == -1 && errno == EBUSY, "EBUSY");
          }
          const auto proc = guest.root() + "/proc";
          guest.expect(::mount("proc", proc.c_str(), "proc", 0, nullptr) == 0, "to mount proc");
          std::filesystem::directory_iterator(guest.root());
          guest.barrier();
          ::usleep(1'200'000);
          std::size_t found = 0;
          for (const auto& entry : std::filesystem::directory_iterator(guest.root()))
            found += entry.path().filename() == "proc";
          guest.barrier();
          guest.expect(found == 1 && ::access((proc + "/self/status").c_str(), F_OK) == 0,
                       "proc to stay mounted");
          ::umount2(proc.c_str(), MNT_DETACH);
        }) == 0);
}

TEST_CASE("the cache: kept while nothing changed, and right after the barrier") {
  CHECK(run_guest([](Guest& guest) {
          const std::string old(300'000, 'o'), fresh(300'000, 'n');
          put(guest.home("file"), old);
          ::usleep(2'100'000);  // until its ctime has settled
          guest.expect(get(guest.view("file")) == old, "the content");
          const auto first = guest.asked();
          guest.expect(get(guest.view("file")) == old && get(guest.view("file")) == old, "the content again");
          for (int i = 0; i < 100 && guest.asked().opened < first.opened + 2; ++i) ::usleep(10'000);
          const auto again = guest.asked();
          guest.expect(again.reads == first.reads, "no read of what is cached");
          guest.expect(again.opens == first.opens && again.opened == first.opened + 2, "home to be told of opens, and not asked");

          const Fd reader(::open(guest.view("file").c_str(), O_RDONLY));
          guest.expect(::access(guest.view("absent").c_str(), F_OK) == -1, "absent");
          guest.expect(::access(guest.view("absent").c_str(), F_OK) == -1, "absent");
          guest.expect(guest.asked().lookups == again.lookups + 1, "one lookup of what is not there");
          struct timespec times[2];
          struct stat stat;
          ::stat(guest.home("file").c_str(), &stat);
          times[0] = stat.st_atim, times[1] = stat.st_mtim;
          {
            const Fd home(::open(guest.home("file").c_str(), O_WRONLY));  // same size, same mtime
            guest.expect(::pwrite(home.get(), fresh.data(), fresh.size(), 0) == 300'000, "write");
            ::futimens(home.get(), times);
          }
          put(guest.home("absent"), "there");
          guest.barrier();
          guest.expect(get(guest.view("absent")) == "there", "the new file");
          guest.expect(get(guest.view("file")) == fresh, "the new content");
          char byte = 0;
          guest.expect(::pread(reader.get(), &byte, 1, 200'000) == 1 && byte == 'n', "it in the open file");

          const auto before = guest.asked();
          put(guest.view("written"), "x");
          guest.expect(guest.asked().flushes == before.flushes + 1, "one flush, of what was written");
        }) == 0);
}

TEST_CASE("references and handles are given back") {
  CHECK(run_guest([](Guest& guest) {
          std::filesystem::create_directory(guest.home("many"));
          for (int i = 0; i < 1000; ++i) put(guest.home("many/" + std::to_string(i)), "text");
          for (const auto& entry : std::filesystem::directory_iterator(guest.view("many"))) get(entry.path());
          const auto used = guest.asked();
          const auto opens = used.opens + used.opened;
          guest.expect(opens >= 1001, "an open of each");
          guest.expect(used.reads < 1100 && used.lookups < 10, "no lookup of each, and no file to be read twice");
          const auto are_released = [&] {
            const auto now = guest.asked();
            return now.released >= opens && now.released == now.opens + now.opened;
          };
          for (int i = 0; i < 100 && !are_released(); ++i) ::usleep(10'000);
          guest.expect(are_released(), "all to be released");
          put("/proc/sys/vm/drop_caches", "2");
          for (int i = 0; i < 100 && guest.asked().forgotten < 900; ++i) ::usleep(10'000);
          guest.expect(guest.asked().forgotten >= 900,
                       "nodes to be forgotten, not " + std::to_string(guest.asked().forgotten));
          guest.expect(get(guest.view("many/7")) == "text", "them to come back");
        }) == 0);
}

TEST_CASE("a hung home: who waits can be killed, other signals interrupt nothing") {
  CHECK(run_guest([](Guest& guest) {
          put(guest.home("file"), "text");
          guest.expect(get(guest.view("file")) == "text", "the content");
          guest.hang(true);
          const auto stat_it = [&] {
            struct stat stat;
            return ::stat(guest.view("other").c_str(), &stat) == 0 ? 0 : errno;
          };
          guest.expect(in_child(stat_it, 5, SIGKILL) == 128 + SIGKILL, "kill -9 of a stat");
          guest.expect(in_child(stat_it, 5, SIGTERM) == 128 + SIGTERM, "SIGTERM of a stat");
          guest.expect(in_child(stat_it, 5, SIGQUIT) == 128 + SIGQUIT, "SIGQUIT of a stat");
          guest.expect(in_child([&] { return ::open(guest.view("new").c_str(), O_CREAT | O_WRONLY, 0644); },
                                5, SIGKILL) == 128 + SIGKILL,
                       "kill -9 of a create");
          const auto handled = [&] {
            struct sigaction action {};
            action.sa_handler = [](int) {};
            ::sigaction(SIGALRM, &action, nullptr);
            const itimerval timer{{0, 50'000}, {0, 50'000}};
            ::setitimer(ITIMER_REAL, &timer, nullptr);
            return stat_it();
          };
          // First signals that it handles, then the one that kills: the kernel tells of the first only.
          guest.expect(in_child(handled, 5, SIGKILL) == 128 + SIGKILL, "kill -9 after SIGALRM");
          const auto child = ::fork();
          if (child == 0) ::_exit(handled());
          ::usleep(500'000);
          guest.hang(false);
          int status = 0;
          ::waitpid(child, &status, 0);
          guest.expect(WIFEXITED(status) && WEXITSTATUS(status) == ENOENT,
                       "no EINTR for a signal that is handled");
          guest.expect(::open(guest.view("another").c_str(), O_CREAT | O_WRONLY, 0644) > 0, "all to go on");
        }) == 0);
}

TEST_CASE("a lost link: EIO for what waits and for what comes, and nobody stuck") {
  CHECK(run_guest([](Guest& guest) {
          put(guest.home("file"), std::string(1 << 20, 'x'));
          const Fd file(::open(guest.view("file").c_str(), O_RDWR));
          guest.hang(true);
          const auto waits = [&] {
            char byte;
            return ::pread(file.get(), &byte, 1, 900'000) == 1 ? 0 : errno;
          };
          const auto child = ::fork();
          if (child == 0) ::_exit(waits());
          ::usleep(300'000);
          guest.lose();
          int status = 0;
          ::waitpid(child, &status, 0);
          guest.expect(WIFEXITED(status) && WEXITSTATUS(status) == EIO, "EIO for who waits");
          struct stat stat;
          guest.expect(::stat(guest.view("more").c_str(), &stat) == -1 && errno == EIO, "EIO for a new one");
          guest.expect(::write(file.get(), "x", 1) == -1 && errno == EIO, "EIO for a write");
          guest.expect(::open(guest.view("file").c_str(), O_RDONLY) == -1 && errno == EIO, "EIO for an open");
        }) == 0);
}
