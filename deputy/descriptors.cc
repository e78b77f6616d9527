// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/descriptors.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>

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

// Of fd 0..2 what can be read or written at all is relayed, of the others only pipes.
Result<DescriptorKind> stream_kind(std::uint32_t number, const Facts& facts) {
  const int access = facts.flags & O_ACCMODE;
  const auto mode = facts.status.st_mode;
  const bool pipe = S_ISFIFO(mode) && access != O_RDWR;
  if (number > 2 ? !pipe : !(pipe || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISREG(mode)))
    return failure("descriptor " + std::to_string(number) + " is " + kind_name(mode));
  if (number >= wire::Data::terminal) return failure("descriptor " + std::to_string(number) + " is too high");
  if (access == O_RDONLY || (access == O_RDWR && number == 0)) return DescriptorKind::input;
  return DescriptorKind::output;
}

Result<Descriptor> describe_one(const PassedFd& passed, const Facts& facts) {
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
  const auto kind = stream_kind(passed.number, facts);
  if (!kind) return tl::make_unexpected(kind.error());
  described.kind = static_cast<std::uint8_t>(*kind);
  return described;
}

}  // namespace

Result<std::vector<Descriptor>> describe(const std::vector<PassedFd>& passed) {
  std::vector<Descriptor> all;
  std::vector<Facts> facts(passed.size());
  for (std::size_t i = 0; i < passed.size(); ++i) {
    facts[i].flags = ::fcntl(passed[i].fd.get(), F_GETFL);
    if (facts[i].flags < 0 || ::fstat(passed[i].fd.get(), &facts[i].status) != 0)
      return os_error("descriptor " + std::to_string(passed[i].number));
    auto described = describe_one(passed[i], facts[i]);
    if (!described) return tl::make_unexpected(described.error());
    // One description stays one. (One socket that is read and written becomes two pipes.)
    for (std::size_t k = 0; k < i; ++k) {
      if (facts[k].status.st_ino != facts[i].status.st_ino ||
          facts[k].status.st_dev != facts[i].status.st_dev || all[k].kind != described->kind ||
          !same_description(passed[k], passed[i]))
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
