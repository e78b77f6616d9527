// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/view_storm.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>

#include "common/fd.h"

namespace ssi::test {
namespace {

std::string said(long result) {
  return result < 0 ? ::strerrorname_np(errno) : std::to_string(result);
}

std::string hash(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return ::strerrorname_np(errno);
  std::uint64_t sum = 14695981039346656037u;
  std::array<char, 65536> bytes;
  for (ssize_t got; (got = ::read(file.get(), bytes.data(), bytes.size())) > 0;)
    for (ssize_t i = 0; i < got; ++i)
      sum = (sum ^ static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)])) * 1099511628211u;
  return std::to_string(sum);
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* open = ::opendir(directory.c_str());
  if (!open) return {std::string("!") + ::strerrorname_np(errno)};
  while (const auto* entry = ::readdir(open)) names.emplace_back(entry->d_name);
  ::closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

std::string describe(const std::string& path, bool times) {
  struct stat stat;
  if (::lstat(path.c_str(), &stat) != 0) return ::strerrorname_np(errno);
  char line[256];
  std::snprintf(line, sizeof line, "%o %u:%u links %lu", stat.st_mode, stat.st_uid, stat.st_gid,
                static_cast<unsigned long>(stat.st_nlink));
  std::string text = line;
  if (!S_ISDIR(stat.st_mode)) text += " size " + std::to_string(stat.st_size);
  if (S_ISREG(stat.st_mode)) text += " hash " + hash(path);
  if (times)
    text += " mtime " + std::to_string(stat.st_mtim.tv_sec) + "." + std::to_string(stat.st_mtim.tv_nsec);
  char target[4096];
  if (S_ISLNK(stat.st_mode))
    text += " -> " + std::string(target, static_cast<std::size_t>(std::max<ssize_t>(
                                             0, ::readlink(path.c_str(), target, sizeof target))));
  return text;
}

class Storm {
 public:
  Storm(std::string directory, std::uint32_t seed) : directory_(std::move(directory)), random_(seed) {}

  std::string step() {
    using Call = std::string (Storm::*)();
    static constexpr std::array<Call, 26> calls{
        &Storm::write_some, &Storm::write_some, &Storm::append, &Storm::read_some, &Storm::open_only,
        &Storm::truncate,   &Storm::ftruncate,  &Storm::mkdir,  &Storm::mkdir,     &Storm::rmdir,
        &Storm::unlink,     &Storm::rename,     &Storm::rename, &Storm::exchange,  &Storm::link,
        &Storm::symlink,    &Storm::readlink,   &Storm::stat,   &Storm::list,      &Storm::chmod,
        &Storm::utimens,    &Storm::xattr,      &Storm::mknod,  &Storm::allocate,  &Storm::copy,
        &Storm::access};
    return (this->*calls[pick(calls.size())])();
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }

  // Few names in few directories, so that calls meet.
  std::string name() {
    static constexpr std::array<const char*, 8> names{"a", "b", "c", "d", "\xff\xfe", "e e", "f", "g"};
    std::string path;
    for (std::size_t depth = pick(3); depth > 0; --depth) path += std::string(names[pick(3)]) + "/";
    return path + names[pick(names.size())];
  }
  std::string at(const std::string& name) const { return directory_ + "/" + name; }

  std::string write_some() {
    const auto to = name();
    const int flags = std::array{O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_EXCL,
                                 O_WRONLY}[pick(4)];
    const std::string bytes(pick(9000), static_cast<char>('a' + pick(26)));
    const auto offset = static_cast<off_t>(pick(3) * 4096 + pick(50));
    const Fd file(::open(at(to).c_str(), flags, 0666));
    if (!file) return "write " + to + ": " + said(-1);
    return "write " + to + ": " + said(::pwrite(file.get(), bytes.data(), bytes.size(), offset));
  }
  std::string append() {
    const auto to = name();
    const Fd one(::open(at(to).c_str(), O_WRONLY | O_APPEND | O_CREAT, 0640));
    if (!one) return "append " + to + ": " + said(-1);
    const Fd other(::open(at(to).c_str(), O_WRONLY | O_APPEND));
    auto text = "append " + to + ": " + said(::write(one.get(), "first", 5));
    if (other) text += " " + said(::write(other.get(), "second", 6));
    return text + " at " + said(::lseek(one.get(), 0, SEEK_END));
  }
  std::string read_some() {
    const auto from = name();
    const Fd file(::open(at(from).c_str(), O_RDONLY | O_NOFOLLOW));
    if (!file) return "read " + from + ": " + said(-1);
    std::string bytes(10000, '.');
    const auto got = ::pread(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(pick(5000)));
    if (got > 0) bytes.resize(static_cast<std::size_t>(got));
    return "read " + from + ": " + said(got) + " " +
           (got > 0 ? std::to_string(std::hash<std::string>()(bytes)) : "");
  }
  std::string open_only() {
    const auto what = name();
    const int flags =
        std::array{O_RDONLY | O_DIRECTORY,        O_RDWR, O_WRONLY | O_TRUNC, O_PATH, O_RDONLY | O_NOFOLLOW,
                   O_RDWR | O_CREAT | O_DIRECTORY}[pick(6)];
    const Fd file(::open(at(what).c_str(), flags, 0666));
    return "open " + what + " " + std::to_string(flags) + ": " + said(file ? 0 : -1);
  }
  std::string truncate() {
    const auto what = name();
    return "truncate " + what + ": " + said(::truncate(at(what).c_str(), static_cast<off_t>(pick(20000))));
  }
  std::string ftruncate() {
    const auto what = name();
    const Fd file(::open(at(what).c_str(), O_RDWR));
    const auto size = static_cast<off_t>(pick(20000));
    if (!file) return "ftruncate " + what + ": " + said(-1);
    auto text = "ftruncate " + what + ": " + said(::ftruncate(file.get(), size));
    struct stat stat;
    return ::fstat(file.get(), &stat) == 0 ? text + " " + std::to_string(stat.st_size) : text + said(-1);
  }
  std::string mkdir() {
    const auto what = name();
    return "mkdir " + what + ": " + said(::mkdir(at(what).c_str(), 0777));
  }
  std::string rmdir() {
    const auto what = name();
    return "rmdir " + what + ": " + said(::rmdir(at(what).c_str()));
  }
  std::string unlink() {
    const auto what = name();
    const Fd open(::open(at(what).c_str(), O_RDONLY));
    auto text = "unlink " + what + ": " + said(::unlink(at(what).c_str()));
    struct stat stat;
    char byte;
    if (open && ::fstat(open.get(), &stat) == 0 && S_ISREG(stat.st_mode))
      text += " links " + std::to_string(stat.st_nlink) + " read " + said(::read(open.get(), &byte, 1));
    return text;
  }
  std::string rename() {
    const auto from = name(), to = name();
    const unsigned flags = pick(4) == 0 ? RENAME_NOREPLACE : 0;
    return "rename " + from + " " + to + ": " +
           said(::renameat2(AT_FDCWD, at(from).c_str(), AT_FDCWD, at(to).c_str(), flags));
  }
  std::string exchange() {
    const auto from = name(), to = name();
    return "exchange " + from + " " + to + ": " +
           said(::renameat2(AT_FDCWD, at(from).c_str(), AT_FDCWD, at(to).c_str(), RENAME_EXCHANGE));
  }
  std::string link() {
    const auto from = name(), to = name();
    return "link " + from + " " + to + ": " + said(::link(at(from).c_str(), at(to).c_str()));
  }
  std::string symlink() {
    const auto to = name(), target = name();
    return "symlink " + to + ": " + said(::symlink(target.c_str(), at(to).c_str()));
  }
  std::string readlink() {
    const auto what = name();
    char target[64];
    return "readlink " + what + ": " + said(::readlink(at(what).c_str(), target, sizeof target));
  }
  std::string stat() {
    const auto what = name();
    return "stat " + what + ": " + describe(at(what), false);
  }
  std::string list() {
    auto text = name();
    const auto names = names_in(at(text));
    text = "list " + text + ":";
    for (const auto& name : names) text += " " + name;
    return text;
  }
  std::string chmod() {
    const auto what = name();
    return "chmod " + what + ": " + said(::chmod(at(what).c_str(), static_cast<mode_t>(0600 + pick(0200))));
  }
  std::string utimens() {
    const auto what = name();
    const timespec times[2] = {{static_cast<time_t>(pick(1'000'000)), 5},
                               {static_cast<time_t>(pick(1'000'000)), 7}};
    auto text =
        "utimens " + what + ": " + said(::utimensat(AT_FDCWD, at(what).c_str(), times, AT_SYMLINK_NOFOLLOW));
    struct stat stat;
    if (::lstat(at(what).c_str(), &stat) == 0 && text.ends_with(" 0"))
      text += " " + std::to_string(stat.st_atim.tv_sec) + " " + std::to_string(stat.st_mtim.tv_nsec);
    return text;
  }
  std::string xattr() {
    const auto what = name();
    const std::string key = pick(2) ? "user.one" : "user.two", value(pick(30), 'v');
    char got[16], names[200];
    auto text = "xattr " + what + ": " +
                said(::setxattr(at(what).c_str(), key.c_str(), value.data(), value.size(),
                                std::array<int, 3>{0, XATTR_CREATE, XATTR_REPLACE}[pick(3)]));
    text += " " + said(::getxattr(at(what).c_str(), "user.one", got, sizeof got));
    text += " " + said(::getxattr(at(what).c_str(), "user.one", nullptr, 0));
    text += " " + said(::listxattr(at(what).c_str(), names, sizeof names));
    if (pick(3) == 0) text += " " + said(::removexattr(at(what).c_str(), key.c_str()));
    return text;
  }
  std::string mknod() {
    const auto what = name();
    const mode_t type = pick(2) ? S_IFSOCK : S_IFREG;  // no FIFO: to open one waits
    return "mknod " + what + ": " + said(::mknod(at(what).c_str(), type | 0666, 0));
  }
  std::string allocate() {
    const auto what = name();
    const Fd file(::open(at(what).c_str(), O_RDWR));
    const int mode = std::array{0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE}[pick(3)];
    const auto offset = static_cast<off_t>(pick(8000)), length = static_cast<off_t>(1 + pick(8000));
    if (!file) return "fallocate " + what + ": " + said(-1);
    struct stat stat;
    if (::fstat(file.get(), &stat) == 0 && !S_ISREG(stat.st_mode)) return "fallocate " + what;
    return "fallocate " + what + ": " + said(::fallocate(file.get(), mode, offset, length));
  }
  std::string copy() {
    const auto from = name(), to = name();
    const Fd source(::open(at(from).c_str(), O_RDONLY)), target(::open(at(to).c_str(), O_RDWR));
    off_t in = static_cast<off_t>(pick(3000)), out = static_cast<off_t>(pick(3000));
    if (!source || !target) return "copy " + from + " " + to + ": no";
    struct stat one, other;
    // What copy_file_range(2) says of an overlap within one file or of other types is each file system's own
    // business.
    if (::fstat(source.get(), &one) != 0 || ::fstat(target.get(), &other) != 0 || !S_ISREG(one.st_mode) ||
        !S_ISREG(other.st_mode) || one.st_ino == other.st_ino)
      return "copy " + from + " " + to;
    return "copy " + from + " " + to + ": " +
           said(::copy_file_range(source.get(), &in, target.get(), &out, 5000, 0));
  }
  std::string access() {
    const auto what = name();
    return "access " + what + ": " + said(::access(at(what).c_str(), static_cast<int>(pick(8))));
  }

  std::string directory_;
  std::mt19937 random_;
};

void walk(const std::string& directory, const std::string& below, bool times,
          std::vector<std::string>& lines) {
  for (const auto& name : names_in(directory)) {
    if (name == "." || name == "..") continue;
    const auto path = directory + "/" + name;
    lines.push_back(below + name + " " + describe(path, times));
    struct stat stat;
    if (::lstat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode))
      walk(path, below + name + "/", times, lines);
  }
}

}  // namespace

std::vector<std::string> storm(const std::string& directory, std::uint32_t seed, int count) {
  Storm storm(directory, seed);
  std::vector<std::string> lines;
  for (int i = 0; i < count; ++i) lines.push_back(storm.step());
  return lines;
}

std::vector<std::string> tree(const std::string& directory, bool times) {
  std::vector<std::string> lines;
  walk(directory, "", times, lines);
  return lines;
}

}  // namespace ssi::test
