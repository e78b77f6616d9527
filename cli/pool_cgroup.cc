// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_cgroup.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace ssi {
namespace {

namespace fs = std::filesystem;

bool write_file(const std::string& path, const char* text) {
  std::ofstream file(path);
  file << text << std::flush;
  return static_cast<bool>(file);
}

// Deepest first: a cgroup can only be removed when it has no children.
bool remove_tree(const std::string& top) {
  std::error_code error;
  if (!fs::exists(top, error)) return true;
  write_file(top + "/cgroup.kill", "1");
  std::vector<std::string> found = {top};
  for (fs::recursive_directory_iterator at(top, error), end; !error && at != end; at.increment(error))
    if (at->is_directory(error)) found.push_back(at->path());
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  // Killed processes leave their cgroup a moment after they were reaped.
  for (int tries = 0; tries < 100; tries++) {
    std::erase_if(found, [](const auto& path) { return ::rmdir(path.c_str()) == 0 || errno == ENOENT; });
    if (found.empty()) return true;
    ::usleep(20'000);
  }
  return false;
}

}  // namespace

bool has_cgroup2() {
  std::ifstream file("/proc/filesystems");
  std::stringstream text;
  text << file.rdbuf();
  return text.str().find("\tcgroup2\n") != std::string::npos;
}

void enter_cgroup(const std::string& name, const std::string& where) {
  auto mount_here = [&] {
    return ::mount("cgroup2", where.c_str(), "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
  };
  if (!mount_here()) return;
  bool inside = ::mkdir((where + "/" + name).c_str(), 0755) == 0 &&
                write_file(where + "/" + name + "/cgroup.procs", "0") && ::unshare(CLONE_NEWCGROUP) == 0;
  ::umount2(where.c_str(), MNT_DETACH);
  // Mounted again, from inside the namespace, its root is our cgroup.
  if (inside) mount_here();
}

Status remove_cgroup(const std::string& name) {
  if (!has_cgroup2()) return {};
  // Home may have the tree mounted anywhere or nowhere: a child mounts its own, which goes with it.
  pid_t child = ::fork();
  if (child < 0) return os_error("fork");
  if (child == 0) {
    bool ready = ::unshare(CLONE_NEWNS) == 0 &&
                 ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                 ::mount("cgroup2", "/tmp", "cgroup2", 0, nullptr) == 0;
    ::_exit(!ready || remove_tree("/tmp/" + name) ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return failure("cgroup " + name + " cannot be removed");
}

}  // namespace ssi
