// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/doctor_trials.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "cli/pool_guest.h"
#include "cli/pool_tool.h"
#include "common/fd.h"
#include "common/user_namespace.h"

namespace ssi {
namespace {

Status in_child(const std::function<Status()>& trial) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  Fd answer(ends[0]), their_end(ends[1]);
  pid_t child = ::fork();
  if (child < 0) return os_error("fork");
  if (child == 0) {
    auto done = trial();
    std::string text = done ? "" : done.error().text();
    ::_exit(::write(their_end.get(), text.data(), text.size()) < 0 || !done ? 1 : 0);
  }
  their_end.reset();
  std::string text;
  char piece[512];
  for (ssize_t n; (n = ::read(answer.get(), piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR);)
    if (n > 0) text.append(piece, static_cast<std::size_t>(n));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return failure(text.empty() ? "the trial crashed" : text);
}

Result<Fd> open_fuse() {
  Fd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fuse) return os_error("open /dev/fuse");
  return fuse;
}

Status mount_fuse_here() {
  const Ids outside{::geteuid(), ::getegid()};
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return os_error("make a user namespace");
  if (auto mapped = become_root_inside(outside); !mapped) return mapped;
  auto fuse = open_fuse();  // here: the kernel refuses one that was opened in another user namespace
  if (!fuse) return tl::make_unexpected(fuse.error());
  // No server answers, and none is asked: the mount itself is the trial. It goes with the namespace.
  std::string options = fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", fuse->get());
  if (::mount("ssi", "/tmp", "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) return os_error("mount");
  return {};
}

Status make_namespaces_here() {
  const Ids outside{::geteuid(), ::getegid()};
  if (!is_rootless_here()) {
    if (::unshare(static_cast<int>(guest_namespaces)) != 0) return os_error("make namespaces");
    return {};
  }
  if (::unshare(static_cast<int>(rootless_namespaces)) != 0) return os_error("make namespaces");
  if (auto mapped = become_root_inside(outside); !mapped) return mapped;
  return in_child([]() -> Status {  // only a child is in the new pid namespace
    if (::mount("proc", "/tmp", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
      return os_error("mount /proc");
    return {};
  });
}

Status make_devices_here() {
  if (::unshare(CLONE_NEWNET) != 0) return os_error("make a network namespace");
  for (const auto& words : {std::vector<std::string>{"ip", "link", "add", "trial0", "type", "bridge"},
                            {"ip", "link", "add", "trial1", "type", "veth", "peer", "name", "trial2"}})
    if (auto done = run_tool(words); !done) return tl::make_unexpected(done.error());
  return {};
}

}  // namespace

Status try_fuse_device() {
  auto fuse = open_fuse();
  if (!fuse) return tl::make_unexpected(fuse.error());
  return {};
}

Status try_fuse_mount() {
  return in_child(mount_fuse_here);
}

Status try_namespaces() {
  return in_child(make_namespaces_here);
}

Status try_network() {
  return in_child(make_devices_here);
}

}  // namespace ssi
