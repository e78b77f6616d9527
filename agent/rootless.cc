// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/rootless.h"

#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "agent/inside.h"
#include "common/log.h"
#include "common/user_namespace.h"

namespace ssi {
namespace {

namespace fs = std::filesystem;

// Only we see what is mounted there. Of all directories this one is not missed: the new root gets a /proc of its own.
constexpr const char* new_root = "/proc";

// One entry of the machine's root, in the new one.
Status carry_over(const fs::directory_entry& entry) {
  const auto to = new_root / entry.path().relative_path();
  std::error_code error;
  if (entry.is_symlink(error)) {
    fs::copy_symlink(entry.path(), to, error);
  } else if (entry.is_directory(error)) {
    fs::create_directory(to, error);
    // All that is mounted below comes too: the kernel does not let us uncover what it hides. What we may not see we
    // do not need.
    if (!error && ::mount(entry.path().c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return os_error("bind " + entry.path().string());
  }
  if (error) return os_error("make " + to.string(), error.value());
  return {};
}

// The root belongs to root, so a directory for the view can only be made in a root of our own.
Status build_root() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return os_error("make mounts private");
  if (::mount("tmpfs", new_root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m") != 0)
    return os_error(std::string("mount ") + new_root);
  std::error_code error;
  for (fs::directory_iterator entry("/", error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path() == new_root || entry->path() == inside::view_path) continue;
    // E.g. a network file system that is gone: an agent needs few of them.
    if (auto done = carry_over(*entry); !done) log::warning("{}; goes on without it", done.error().text());
  }
  if (error) return os_error("read /", error.value());
  const std::string root = new_root;
  for (const char* name : {"/proc", inside::view_path}) ::mkdir((root + name).c_str(), 0755);
  if (::mount("proc", (root + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return os_error("mount /proc (a container's is covered in part, and then no other can be had)");
  if (::chdir(new_root) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0)
    return os_error("pivot into a root of our own");
  return {};
}

[[noreturn]] void stay_behind(pid_t child, const sigset_t& watched) {
  for (;;) {
    int number = 0;
    ::sigwait(&watched, &number);
    if (number != SIGCHLD) ::kill(child, number == SIGHUP ? SIGTERM : number);
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child)
      ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

}  // namespace

Status become_root_of_own_namespaces() {
  const Ids outside{::geteuid(), ::getegid()};
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0)
    return os_error("make a user namespace (an agent without root needs one; ssi doctor says more)");
  if (auto mapped = become_root_inside(outside); !mapped) return mapped;
  sigset_t watched, before;
  ::sigemptyset(&watched);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&watched, number);
  ::sigprocmask(SIG_BLOCK, &watched, &before);
  const pid_t child = ::fork();
  if (child < 0) return os_error("fork");
  if (child > 0) stay_behind(child, watched);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::error_code error;
  const auto here = fs::current_path(error);
  if (auto built = build_root(); !built) return built;
  if (::chdir(here.c_str()) != 0 && ::chdir("/") != 0)
    return os_error("chdir /");  // a key may be named from here
  return {};
}

Status give_up_capabilities() {
  if (::unshare(CLONE_NEWUSER) != 0) return os_error("make a user namespace");
  const cap_t none = ::cap_init();
  const int set = ::cap_set_proc(none);
  ::cap_free(none);
  if (set != 0) return os_error("drop capabilities");
  // Last: what went before clears the parent-death signal.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    return os_error("prctl");
  return {};
}

}  // namespace ssi
