// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/store_room.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/file_time.h"
#include "common/identity.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t most_by_default = 1 << 30;
constexpr const char* boot_file = "boot";

}  // namespace

Status StoreRoom::prepare() {
  if (directory_) return {};
  std::error_code error;
  fs::create_directories(path_, error);
  Fd directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!directory || ::fstat(directory.get(), &status) != 0) return os_error(path_);
  // A path through it leads to other homes' content.
  if (status.st_uid != ::geteuid()) return os_error(path_ + ": it is another user's", EPERM);
  if (::fchmod(directory.get(), 0700) != 0) return os_error(path_);
  struct statfs on;
  if (::fstatfs(directory.get(), &on) != 0) return os_error(path_);
  if (bytes_ == 0)
    bytes_ = std::min(most_by_default, static_cast<std::uint64_t>(on.f_blocks) * static_cast<std::uint64_t>(on.f_bsize) / 2);
  directory_ = std::move(directory);

  const auto kept = path_ + "/" + boot_file;
  if (read_whole(kept).value_or("") == boot_id()) return {};
  for (const auto& other : others({})) remove(other.name);
  return put_file(kept, boot_id());
}

Result<StoreRoom::Store> StoreRoom::open(const std::string& home_key, uid_t owner) {
  if (auto prepared = prepare(); !prepared) return tl::make_unexpected(prepared.error());
  const auto name = key_text(home_key);
  const auto path = path_ + "/" + name;
  if (::mkdirat(directory_.get(), name.c_str(), 0700) != 0 && errno != EEXIST) return os_error(path);
  Fd fd(::openat(directory_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return os_error(path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return os_error(path, errno == EWOULDBLOCK ? EBUSY : errno);
  if (::fchown(fd.get(), owner, static_cast<gid_t>(-1)) != 0 || ::futimens(fd.get(), nullptr) != 0) return os_error(path);
  auto left = others(name);
  for (auto other = left.begin(); left.size() >= most_homes && other != left.end();)
    other = remove(other->name) ? left.erase(other) : other + 1;
  if (left.size() < most_homes) return Store{std::move(fd), bytes_ / most_homes};
  fd.reset();
  remove(name);
  return os_error(path_ + ": as many homes as it has room for", ENOSPC);
}

std::vector<StoreRoom::Other> StoreRoom::others(const std::string& name) const {
  std::vector<Other> found;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    struct stat status;
    const auto file = entry->path().filename().string();
    if (file == name || ::lstat(entry->path().c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    found.push_back({file, to_ns(status.st_mtim.tv_sec, status.st_mtim.tv_nsec)});
  }
  std::sort(found.begin(), found.end(), [](const Other& a, const Other& b) { return a.when < b.when; });
  return found;
}

bool StoreRoom::remove(const std::string& name) const {
  const Fd fd(::openat(directory_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  std::error_code error;
  fs::remove_all(fs::path(path_) / name, error);
  return !error;
}

}  // namespace ssi
