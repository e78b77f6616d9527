// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/paths.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace ssi::paths {
namespace {

namespace fs = std::filesystem;

#ifndef SSI_LIBDIR
#define SSI_LIBDIR "/usr/lib/ssi"
#endif

// The value of an XDG variable; the specification has relative ones ignored.
std::string absolute(const char* variable) {
  const char* value = ::getenv(variable);
  return value && value[0] == '/' ? value : "";
}

std::string base(const char* variable, const char* below_home) {
  auto directory = absolute(variable);
  return directory.empty() ? home_dir() + below_home : directory;
}

Result<std::string> made(std::string directory) {
  if (auto status = make_private_dir(directory); !status) return tl::make_unexpected(status.error());
  return directory;
}

Status check_owner(const std::string& path, const struct stat& st) {
  if (st.st_uid != ::geteuid())
    return failure(path + ": belongs to another user (uid " + std::to_string(st.st_uid) + ", we are " +
                   std::to_string(::geteuid()) + ")");
  return {};
}

Status make_parents(const std::string& path) {
  for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const auto part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0700) != 0)
      if (const int error = errno; ::access(part.c_str(), F_OK) != 0) return os_error("mkdir " + part, error);
    if (slash == std::string::npos) return {};
  }
}

}  // namespace

Result<std::string> runtime_dir() {
  const auto xdg = absolute("XDG_RUNTIME_DIR");
  if (xdg.empty()) return made("/tmp/ssi-" + std::to_string(::geteuid()));
  // After `su` or `sudo -E` it may be another user's: nothing of ours goes there.
  struct stat st {};
  if (::stat(xdg.c_str(), &st) == 0)
    if (auto owned = check_owner(xdg, st); !owned) return tl::make_unexpected(owned.error());
  return made(xdg + "/ssi");
}

Result<std::string> state_dir() {
  return made(base("XDG_STATE_HOME", "/.local/state") + "/ssi");
}

std::string user_config() {
  if (const char* named = ::getenv("SSI_CONFIG"); named && *named) return named;
  return base("XDG_CONFIG_HOME", "/.config") + "/ssi/config.toml";
}

std::string home_dir() {
  if (const auto home = absolute("HOME"); !home.empty()) return home;
  std::vector<char> buffer(16 << 10);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
    return found->pw_dir;
  return "/";
}

Result<std::string> sibling(const std::string& name) {
  std::error_code error;
  const auto self = fs::read_symlink("/proc/self/exe", error);
  if (error) return tl::make_unexpected(Error{error, "readlink /proc/self/exe"});
  const auto here = self.parent_path();
  std::vector<fs::path> places{here};
  for (const char* part : {"shim", "deputy", "agent", "scheduler", "cli"})
    places.push_back(here.parent_path() / part);
  places.push_back(here.parent_path());  // for "guest/build"
  // Installed: programs in PREFIX/bin, the rest in PREFIX/LIBDIR/ssi; LIBDIR may be several folders deep.
  const fs::path libdir(SSI_LIBDIR);
  places.push_back(libdir);
  for (auto up = libdir.parent_path(); up.has_relative_path(); up = up.parent_path())
    places.push_back(up / "bin");
  for (const auto& place : places) {
    const auto file = place / name;
    if (fs::is_regular_file(file, error)) return fs::absolute(file).lexically_normal().string();
  }
  return failure(name + ": not found beside " + self.string() + " nor in " + SSI_LIBDIR);
}

Status make_private_dir(const std::string& path) {
  if (auto parents = make_parents(path); !parents) return parents;
  struct stat st {};
  // A link that somebody else planted in /tmp could lead anywhere; a link of one's own is one's own choice.
  if (::lstat(path.c_str(), &st) != 0) return os_error("mkdir " + path);
  if (auto owned = check_owner(path, st); !owned) return owned;
  if (::stat(path.c_str(), &st) != 0) return os_error("stat " + path);
  if (!S_ISDIR(st.st_mode)) return os_error(path, ENOTDIR);
  if (auto owned = check_owner(path, st); !owned) return owned;
  if (st.st_mode & 022) return failure(path + ": others may write to it: chmod 700 " + path);
  return {};
}

}  // namespace ssi::paths
