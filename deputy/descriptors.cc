// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/descriptors.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "deputy/file_id.h"

namespace ssi {
namespace {

using wire::Descriptor, wire::DescriptorKind;

struct Facts {
  struct stat status;
  int flags;
};

bool same_description(const PassedFd& a, const PassedFd& b) {
  const auto self = ::getpid();
  return ::syscall(SYS_kcmp, self, self, KCMP_FILE, a.fd.get(), b.fd.get()) == 0;
}

// Devices that every Linux has, and that are the same everywhere.
std::string common_device(dev_t device) {
  constexpr std::array<std::pair<unsigned, const char*>, 5> known{
      {{3, "null"}, {5, "zero"}, {7, "full"}, {8, "random"}, {9, "urandom"}}};
  for (const auto& [number, name] : known)
    if (device == makedev(1, number)) return name;
  return {};
}

const char* kind_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
    case S_IFBLK:
      return "a device";
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO opened for reading and writing";
    case S_IFREG:
      return "a file";
    default:
      return "something that only this machine's kernel has";  // eventfd, epoll, pidfd, ...: an inode of no type
  }
}

std::string it_is(std::uint32_t number, const std::string& what) {
  return "descriptor " + std::to_string(number) + " is " + what;
}

std::string path_of(int fd) {
  char target[PATH_MAX];
  const auto size = ::readlink(ProcPath(fd).c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

bool has_name(const std::string& path, const Facts& facts) {
  struct stat named;
  return path.starts_with('/') && ::stat(path.c_str(), &named) == 0 && named.st_dev == facts.status.st_dev &&
         named.st_ino == facts.status.st_ino;
}

// A guest has these of its own.
bool is_guests(const std::string& path) {
  return path.starts_with("/proc/") || path.starts_with("/sys/") || path.starts_with("/dev/");
}

bool writes(const Facts& facts) {
  return (facts.flags & O_ACCMODE) != O_RDONLY;
}

constexpr std::uint32_t highest = 1000;  // below the limit that any guest starts with

constexpr const char* nameless = "a file without a name";

// Why a guest cannot open the file by its path; "": it can.
std::string why_unnamed(int fd, const std::string& path, const Facts& facts, const ExportPolicy& policy) {
  struct statx status;
  if (path.starts_with("/memfd:")) return "a memfd";
  if (!has_name(path, facts)) return nameless;
  if (is_guests(path)) return path + ", which a guest has of its own";
  if (stat_of(fd, status) != 0 || policy.hides(id_of(status)) || policy.hides_path(path))
    return "a file that is hidden from guests";
  if (writes(facts) && (policy.protects(id_of(status)) || policy.protects_path(path)))
    return "a file that guests may not change";
  return {};
}

std::uint64_t random_token() {
  std::uint64_t token = 0;
  return ::getrandom(&token, sizeof token, 0) == sizeof token ? token : 0;
}

// Whatever writes at the place where the last one ended must share that place with all who hold the description. Appends
// need no place, and what is only read is set right at the end.
bool shares_its_offset(const Facts& facts) {
  return S_ISREG(facts.status.st_mode) && writes(facts) && !(facts.flags & O_APPEND);
}

void describe_file(const PassedFd& passed, std::string path, const Facts& facts, Descriptor& described) {
  const auto offset = ::lseek(passed.fd.get(), 0, SEEK_CUR);
  described.kind = static_cast<std::uint8_t>(DescriptorKind::file);
  described.path = std::move(path);
  described.offset = offset > 0 ? static_cast<std::uint64_t>(offset) : 0;
  described.node = facts.status.st_ino;
  if (S_ISDIR(facts.status.st_mode)) described.flags |= O_DIRECTORY;
  if (shares_its_offset(facts)) described.token = random_token();
}

// Of fd 0..2 what can be read or written at all is relayed, of the others pipes, and files without a name (here-documents of
// some shells).
Result<DescriptorKind> stream_kind(std::uint32_t number, const Facts& facts) {
  const int access = facts.flags & O_ACCMODE;
  const auto mode = facts.status.st_mode;
  const bool pipe = S_ISFIFO(mode) && access != O_RDWR;
  if (number > 2 ? !pipe && !S_ISREG(mode) : !(pipe || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISREG(mode)))
    return failure(it_is(number, kind_name(mode)));
  if (number >= wire::Data::terminal) return failure(it_is(number, "too high"));
  if (access == O_RDONLY || (access == O_RDWR && number == 0)) return DescriptorKind::input;
  return DescriptorKind::output;
}

Result<Descriptor> describe_one(const PassedFd& passed, const Facts& facts, const ExportPolicy& policy) {
  if (passed.number > highest) return failure(it_is(passed.number, "too high"));
  if (facts.flags & O_PATH) return failure(it_is(passed.number, "opened with O_PATH"));
  Descriptor described;
  described.fd = passed.number;
  described.flags = static_cast<std::uint32_t>(facts.flags);
  if (passed.terminal) {
    described.kind = static_cast<std::uint8_t>(DescriptorKind::terminal);
    return described;
  }
  if (S_ISCHR(facts.status.st_mode))
    if (auto name = common_device(facts.status.st_rdev); !name.empty()) {
      described.kind = static_cast<std::uint8_t>(DescriptorKind::device);
      described.path = name;
      return described;
    }
  if (S_ISREG(facts.status.st_mode) || S_ISDIR(facts.status.st_mode)) {
    auto path = path_of(passed.fd.get());
    const auto why = why_unnamed(passed.fd.get(), path, facts, policy);
    if (why.empty()) {
      describe_file(passed, std::move(path), facts, described);
      return described;
    }
    const bool one_way = S_ISREG(facts.status.st_mode) && (facts.flags & O_ACCMODE) != O_RDWR;
    if (passed.number > 2 && !(one_way && why == nameless)) return failure(it_is(passed.number, why));
  }
  const auto kind = stream_kind(passed.number, facts);
  if (!kind) return tl::make_unexpected(kind.error());
  described.kind = static_cast<std::uint8_t>(*kind);
  return described;
}

}  // namespace

const wire::Descriptor* pipe_above_stdio(const std::vector<wire::Descriptor>& described) {
  const auto found = std::ranges::find_if(described, [](const auto& each) {
    const auto kind = static_cast<DescriptorKind>(each.kind);
    return each.fd > 2 && (kind == DescriptorKind::input || kind == DescriptorKind::output);
  });
  return found == described.end() ? nullptr : &*found;
}

std::vector<PassedFd> take_pipe(std::vector<PassedFd>& passed, int read, int write) {
  std::vector<PassedFd> taken;
  const auto find = [&](int number) {
    return std::ranges::find_if(passed,
                                [&](const auto& each) { return static_cast<int>(each.number) == number; });
  };
  const auto reader = find(read), writer = find(write);
  struct stat one, other;
  if (reader == passed.end() || writer == passed.end() || ::fstat(reader->fd.get(), &one) != 0 ||
      ::fstat(writer->fd.get(), &other) != 0 || !S_ISFIFO(one.st_mode) || one.st_dev != other.st_dev ||
      one.st_ino != other.st_ino)
    return taken;
  for (const int number : {read, write})
    if (const auto end = find(number); end != passed.end()) {
      taken.push_back(std::move(*end));
      passed.erase(end);
    }
  return taken;
}

Result<std::vector<wire::Descriptor>> describe(const std::vector<PassedFd>& passed,
                                               const ExportPolicy& policy) {
  std::vector<wire::Descriptor> all;
  std::vector<Facts> facts(passed.size());
  for (std::size_t i = 0; i < passed.size(); ++i) {
    facts[i].flags = ::fcntl(passed[i].fd.get(), F_GETFL);
    if (facts[i].flags < 0 || ::fstat(passed[i].fd.get(), &facts[i].status) != 0)
      return os_error("descriptor " + std::to_string(passed[i].number));
    auto described = describe_one(passed[i], facts[i], policy);
    if (!described) return tl::make_unexpected(described.error());
    // One description stays one, and one pipe that was opened twice one stream. (One socket that is read and written becomes
    // two pipes.)
    for (std::size_t k = 0; k < i; ++k) {
      if (facts[k].status.st_ino != facts[i].status.st_ino ||
          facts[k].status.st_dev != facts[i].status.st_dev || all[k].kind != described->kind ||
          !(S_ISFIFO(facts[i].status.st_mode) || same_description(passed[k], passed[i])))
        continue;
      described->kind = static_cast<std::uint8_t>(DescriptorKind::same_as);
      described->of = passed[k].number;
      break;
    }
    all.push_back(std::move(*described));
  }
  return all;
}

}  // namespace ssi
