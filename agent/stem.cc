// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/stem.h"

#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/inside.h"
#include "agent/job_init.h"
#include "agent/spare_init.h"
#include "common/fd_passing.h"
#include "common/log.h"

namespace ssi {
namespace {

// After the start of a job, so that the spare init is not made when the job needs the processor most, and not for one of many.
constexpr int spare_after_ms = 3;

Status mount_at(const char* what, const std::string& where, const char* type, unsigned long flags,
                const std::string& options) {
  if (::mount(what, where.c_str(), type, flags, options.c_str()) != 0) return os_error("mount " + where);
  return {};
}

// A job must not type into a terminal that it shares with somebody (TIOCSTI, TIOCLINUX). The kernel looks at the lower
// 32 bits of the request only, so the comparison does too. Inherited by every job.
Status deny_terminal_injection() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  if (!filter) return os_error("seccomp_init", ENOMEM);
  int failed = 0;
  for (const auto arch : {SCMP_ARCH_X86, SCMP_ARCH_X32})  // of either sign, as the header's macros have it
    if (::seccomp_arch_native() == SCMP_ARCH_X86_64)
      failed |= ::seccomp_arch_add(filter, static_cast<std::uint32_t>(arch));
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}})
    failed |= ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffUL, request));
  failed |= ::seccomp_load(filter);
  ::seccomp_release(filter);
  if (failed) return os_error("load the seccomp filter", -failed);
  return {};
}

// /dev of the jobs: what the guest's kernel offers to everybody, and nothing else. Device nodes cannot be made in a user
// namespace, so the guest's own are bound.
Status build_dev(const std::string& dev) {
  if (auto mounted = mount_at("dev", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k"); !mounted)
    return mounted;
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    const auto path = dev + "/" + name;
    const Fd made(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
    if (::mount((std::string("/dev/") + name).c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0)
      return os_error("bind " + path);
  }
  for (const char* name : {"pts", "shm"}) ::mkdir((dev + "/" + name).c_str(), 0755);
  constexpr const char* links[][2] = {{"/proc/self/fd", "fd"},
                                      {"/proc/self/fd/0", "stdin"},
                                      {"/proc/self/fd/1", "stdout"},
                                      {"/proc/self/fd/2", "stderr"},
                                      {"pts/ptmx", "ptmx"}};
  for (const auto& [target, name] : links)
    if (::symlink(target, (dev + "/" + name).c_str()) != 0) return os_error("symlink in " + dev);
  return {};
}

// /sys of the jobs: the processors and memory nodes of the guest, which programs count, and nothing else.
Status build_sys(const std::string& sys) {
  if (auto mounted = mount_at("sys", sys, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k");
      !mounted)
    return mounted;
  for (const char* name : {"/devices", "/devices/system", "/devices/system/cpu", "/devices/system/node"})
    ::mkdir((sys + name).c_str(), 0755);
  for (const char* name : {"/devices/system/cpu", "/devices/system/node"})
    if (::mount((std::string("/sys") + name).c_str(), (sys + name).c_str(), nullptr, MS_BIND, nullptr) != 0 &&
        errno != ENOENT)
      return os_error("bind " + sys + name);
  constexpr unsigned long read_only = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount(nullptr, sys.c_str(), nullptr, read_only, nullptr) != 0) return os_error("remount " + sys);
  return {};
}

Status build_synthetic(const std::string& view) {
  if (auto built = build_dev(view + "/dev"); !built) return built;
  return build_sys(view + "/sys");  // /proc, /dev/pts and /dev/shm are each job's own
}

class Stem {
 public:
  Stem(Fd home, bool squash_ids) : home_(std::move(home)), squash_ids_(squash_ids) {}
  int run();

 private:
  void mount_fs(const inside::MountFs& request);
  Status mount_one(const inside::MountFs& request, Fd& fuse);
  void start_job(inside::StartJob& start, std::vector<Fd> fds);
  bool has_come();
  static void look_at(const inside::LookAt& look, const std::vector<Fd>& fds);

  Fd home_;
  const bool squash_ids_;
  SpareInit spare_;
  std::optional<inside::StartJob> last_;  // of which there is no spare init
  // Looked up before any job looks, and kept: Linux 6.16 and later take a FUSE name that two look up for the first time at once for
  // stale (fuse_dentry_revalidate reads the epoch of an entry that fuse_lookup has published and not yet stamped), and nothing can be
  // mounted on what they got: ENOENT.
  Fd proc_;
  std::vector<Fd> roots_;  // of the mounted file systems, to reach them when no path can be resolved any more
};

Status Stem::mount_one(const inside::MountFs& request, Fd& fuse) {
  // Must be opened here: the kernel takes only a descriptor that was opened in the superblock's user namespace.
  fuse.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fuse) return os_error("open /dev/fuse");
  const std::string path(request.path, ::strnlen(request.path, sizeof request.path));
  const auto where = path == "/" ? std::string(inside::view_path) : inside::view_path + path;
  // Where the kernel judges, access(2) does not ask home: that it is read-only must be known here.
  const unsigned long flags = MS_NOSUID | MS_NODEV | (request.read_only ? MS_RDONLY : 0);
  if (auto mounted = mount_at("ssi", where, "fuse.ssi", flags,
                              // Of the owner there must be a name here: root's, or the only one.
                              "fd=" + std::to_string(fuse.get()) +
                                  ",rootmode=40000,user_id=" + std::to_string(::getuid()) +
                                  ",group_id=" + std::to_string(::getgid()) + ",allow_other,max_read=131072");
      !mounted)
    return mounted;
  roots_.emplace_back(::open(where.c_str(), O_PATH | O_CLOEXEC));
  return {};
}

void Stem::mount_fs(const inside::MountFs& request) {
  spare_.drop();
  Fd fuse;
  auto mounted = mount_one(request, fuse);
  if (!mounted && mounted.error().code == std::errc::no_such_file_or_directory)
    mounted = mount_one(request, fuse);  // its name was spoiled by a job's first look (proc_)
  if (!mounted) log::error("{}", mounted.error().text());
  const inside::MountDone done{request.fs, mounted ? 0 : mounted.error().code.value()};
  const int passed = fuse.get();
  if (mounted)
    send_packet(home_.get(), done, {&passed, 1});
  else
    send_packet(home_.get(), done);
  // The home process serves the tree from now on, so paths in it can be resolved.
  if (!mounted || std::strcmp(request.path, "/") != 0) return;
  if (const auto built = build_synthetic(inside::view_path); !built) log::error("{}", built.error().text());
  proc_.reset(::open((std::string(inside::view_path) + "/proc").c_str(), O_PATH | O_CLOEXEC));
}

// /dev/stdin and its kin open the pipe's inode again, which must then be the user's, as it is at home.
void give_streams(const inside::StartJob& start, const std::vector<Fd>& fds) {
  for (std::size_t i = 2; i < fds.size(); ++i) ::fchown(fds[i].get(), start.uid, start.gid);
}

void Stem::start_job(inside::StartJob& start, std::vector<Fd> fds) {
  start.group_count = std::min(start.group_count, inside::max_groups);
  give_streams(start, fds);
  last_ = start;
  if (spare_.take(start, fds)) return;
  const pid_t pid = clone_init();
  if (pid == 0) {
    home_.reset();
    spare_.drop();
    run_job_init(start, std::move(fds), squash_ids_);
  }
  if (pid < 0 && !fds.empty()) {
    inside::FromInit packet{};
    packet.kind = inside::FromInit::failed;
    packet.error = errno;
    (void)send_with_fds(fds[0].get(), packet.bytes(), {});
  }
}

// Waits for the home process, or makes the next job's init.
bool Stem::has_come() {
  pollfd home{home_.get(), POLLIN, 0};
  if (!last_ || ::poll(&home, 1, spare_after_ms) != 0) return true;
  spare_.make(*std::exchange(last_, std::nullopt), squash_ids_, home_);
  return false;
}

void Stem::look_at(const inside::LookAt& look, const std::vector<Fd>& fds) {
  char text[inside::max_call];
  const Fd call(::open(("/proc/" + std::to_string(look.task) + "/syscall").c_str(), O_RDONLY | O_CLOEXEC));
  const auto got = call ? ::read(call.get(), text, sizeof text) : -1;
  if (got > 0 && !fds.empty()) (void)!::write(fds[0].get(), text, static_cast<std::size_t>(got));
}

int Stem::run() {
  ::signal(SIGCHLD, SIG_IGN);  // jobs' inits are reaped by the kernel
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    log::error("{}", os_error("make a mount namespace").value().text());
    return 1;
  }
  if (const auto denied = deny_terminal_injection(); !denied) {
    log::error("{}", denied.error().text());
    return 1;
  }
  inside::ToStem packet;
  for (;;) {
    if (!has_come()) continue;
    auto got = receive_with_fds(home_.get(), {reinterpret_cast<char*>(&packet), sizeof packet});
    if (!got || !packet.is_whole(got->bytes)) break;
    if (packet.kind == inside::ToStem::mount_fs)
      mount_fs(packet.mount);
    else if (packet.kind == inside::ToStem::start_job)
      start_job(packet.start, std::move(got->fds));
    else if (packet.kind == inside::ToStem::look_at)
      look_at(packet.look, got->fds);
  }
  // The home process is gone. One of its threads may still wait in the kernel for an answer to a notification, and so
  // keep the connection, and with it the jobs' requests, alive: only this frees them.
  for (const auto& root : roots_)
    ::umount2(("/proc/self/fd/" + std::to_string(root.get())).c_str(), MNT_FORCE);
  return 0;
}

}  // namespace

int run_stem(Fd home, bool squash_ids) {
  return Stem(std::move(home), squash_ids).run();
}

}  // namespace ssi
