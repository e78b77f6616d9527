// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/descriptors.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/test_folder.h"

using namespace ssi;
using Kind = wire::DescriptorKind;

namespace {

struct Folder {
  Folder() {
    for (const auto* name : {"file", "secret", "fixed"}) std::ofstream(path + "/" + name) << "0123456789";
  }
  Fd open(const std::string& name, int flags) const {
    return Fd(::open((path + "/" + name).c_str(), flags, 0600));
  }
  TestFolder folder;
  const std::string& path = folder.path();
};

struct Passed {
  Folder folder;
  std::vector<PassedFd> list;

  Passed& add(std::uint32_t number, Fd fd) {
    REQUIRE(fd);
    list.push_back({number, false, std::move(fd)});
    return *this;
  }
  Result<std::vector<wire::Descriptor>> described() const {
    return describe(list, ExportPolicy::exactly({{folder.path + "/secret"}, {folder.path + "/fixed"}}));
  }
  std::string reason() const {
    const auto all = described();
    return all ? "none" : all.error().text();
  }
  Kind kind() const {
    const auto all = described();
    REQUIRE(all);
    return static_cast<Kind>(all->back().kind);
  }
};

std::string reason_of(std::uint32_t number, Fd fd) {
  return Passed().add(number, std::move(fd)).reason();
}

}  // namespace

TEST_CASE("a file goes by its path, node and offset") {
  Passed passed;
  Fd file = passed.folder.open("file", O_RDONLY);
  ::lseek(file.get(), 4, SEEK_SET);
  struct stat status;
  ::fstat(file.get(), &status);
  const auto all = passed.add(7, std::move(file)).described();
  REQUIRE(all);
  const auto& described = all->front();
  CHECK(described.fd == 7);
  CHECK(static_cast<Kind>(described.kind) == Kind::file);
  CHECK(described.path == passed.folder.path + "/file");
  CHECK(described.node == status.st_ino);
  CHECK(described.offset == 4);
  CHECK(described.token == 0);
}

TEST_CASE("only writers that do not append share their offset") {
  Passed passed;
  passed.add(3, passed.folder.open("file", O_WRONLY)).add(4, passed.folder.open("file", O_RDWR));
  passed.add(5, passed.folder.open("file", O_WRONLY | O_APPEND));
  const auto all = passed.described();
  REQUIRE(all);
  CHECK((*all)[0].token != 0);
  CHECK((*all)[1].token != 0);
  CHECK((*all)[0].token != (*all)[1].token);
  CHECK((*all)[2].token == 0);
  CHECK(((*all)[2].flags & O_APPEND) != 0);
}

TEST_CASE("one description stays one") {
  Passed passed;
  Fd file = passed.folder.open("file", O_WRONLY);
  passed.add(1, file.duplicate()).add(2, file.duplicate()).add(9, passed.folder.open("file", O_WRONLY));
  const auto all = passed.described();
  REQUIRE(all);
  CHECK(static_cast<Kind>((*all)[1].kind) == Kind::same_as);
  CHECK((*all)[1].of == 1);
  CHECK(static_cast<Kind>((*all)[2].kind) == Kind::file);
}

TEST_CASE("a renamed file goes by its new name, a directory as one") {
  Passed passed;
  Fd file = passed.folder.open("file", O_RDONLY);
  std::filesystem::rename(passed.folder.path + "/file", passed.folder.path + "/new");
  passed.add(3, std::move(file)).add(4, passed.folder.open(".", O_RDONLY));
  const auto all = passed.described();
  REQUIRE(all);
  CHECK((*all)[0].path == passed.folder.path + "/new");
  CHECK((*all)[1].path == passed.folder.path);
  CHECK(((*all)[1].flags & O_DIRECTORY) != 0);
}

TEST_CASE(
    "a file that a guest cannot open is a stream when that can stand for it, and else a reason for home") {
  const auto deleted = [](Passed& passed, int access = O_RDONLY) {
    Fd file = passed.folder.open("file", access);
    std::filesystem::remove(passed.folder.path + "/file");
    std::ofstream(passed.folder.path + "/file") << "another";
    return file;
  };
  Passed low, high, both, secret, fixed, read;
  CHECK(low.add(0, deleted(low)).kind() == Kind::input);
  CHECK(high.add(5, deleted(high)).kind() == Kind::input);
  CHECK(both.add(5, deleted(both, O_RDWR)).reason() == "descriptor 5 is a file without a name");
  CHECK(secret.add(3, secret.folder.open("secret", O_RDONLY)).reason() ==
        "descriptor 3 is a file that is hidden from guests");
  CHECK(fixed.add(3, fixed.folder.open("fixed", O_WRONLY)).reason() ==
        "descriptor 3 is a file that guests may not change");
  CHECK(read.add(3, read.folder.open("fixed", O_RDONLY)).kind() == Kind::file);
  CHECK(reason_of(4, Fd(::memfd_create("m", 0))) == "descriptor 4 is a memfd");
  CHECK(reason_of(4, Fd(::open("/proc/self/status", O_RDONLY))).find("which a guest has of its own") !=
        std::string::npos);
}

TEST_CASE("what only this machine's kernel has stays with it, and the reason says what and where") {
  Folder folder;
  CHECK(reason_of(3, Fd(::socket(AF_UNIX, SOCK_STREAM, 0))) == "descriptor 3 is a socket");
  CHECK(reason_of(12, Fd(::eventfd(0, 0))) ==
        "descriptor 12 is something that only this machine's kernel has");
  CHECK(reason_of(3, Fd(::open("/dev/ptmx", O_RDWR))) == "descriptor 3 is a device");
  CHECK(reason_of(3, folder.open("file", O_PATH)) == "descriptor 3 is opened with O_PATH");
  CHECK(reason_of(0, folder.open("file", O_PATH)) == "descriptor 0 is opened with O_PATH");
  REQUIRE(::mkfifo((folder.path + "/fifo").c_str(), 0600) == 0);
  CHECK(reason_of(6, folder.open("fifo", O_RDWR)) == "descriptor 6 is a FIFO opened for reading and writing");
}

TEST_CASE("devices that are the same everywhere, and pipes at any number") {
  for (const auto* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    CHECK(Passed().add(8, Fd(::open(path, O_RDWR))).kind() == Kind::device);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Passed passed;
  passed.add(3, Fd(ends[0])).add(4, Fd(ends[1]));
  const auto all = passed.described();
  REQUIRE(all);
  CHECK(static_cast<Kind>((*all)[0].kind) == Kind::input);
  CHECK(static_cast<Kind>((*all)[1].kind) == Kind::output);
  CHECK(pipe_above_stdio(*all) == &all->front());
}

TEST_CASE("the two ends of a pipe are taken out, and nothing that only has their numbers") {
  int ends[2], other[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::pipe(other) == 0);
  Passed passed;
  passed.add(3, Fd(ends[0])).add(4, Fd(ends[1])).add(5, Fd(other[0])).add(6, Fd(other[1]));
  passed.add(7, passed.folder.open("file", O_RDONLY));
  CHECK(take_pipe(passed.list, 3, 6).empty());
  CHECK(take_pipe(passed.list, 3, 7).empty());
  CHECK(take_pipe(passed.list, 30, 40).empty());
  CHECK(take_pipe(passed.list, -1, -1).empty());
  CHECK(take_pipe(passed.list, 3, 4).size() == 2);
  REQUIRE(passed.list.size() == 3);
  CHECK(passed.list.front().number == 5);
}
