// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_guest.h"

#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/pool_cgroup.h"
#include "cli/pool_tool.h"

namespace ssi {
namespace {

namespace fs = std::filesystem;

// In memory, so that a guest that runs wild cannot eat home's: a debug build of the agent with its libraries
// is ~60 MiB.
constexpr char root_options[] = "mode=755,size=256m";
// Content of home's files, which home has in its own memory as well: a guest here is for trying, most of the time.
constexpr char cache_options[] = "mode=700,size=1g";

struct Device {
  const char* name;
  mode_t mode;
  unsigned major, minor;
};

constexpr Device devices[] = {{"null", 0666, 1, 3},   {"zero", 0666, 1, 5},    {"full", 0666, 1, 7},
                              {"random", 0666, 1, 8}, {"urandom", 0666, 1, 9}, {"tty", 0666, 5, 0},
                              {"fuse", 0666, 10, 229}};

constexpr std::pair<const char*, const char*> links[] = {{"ptmx", "pts/ptmx"},
                                                         {"fd", "/proc/self/fd"},
                                                         {"stdin", "/proc/self/fd/0"},
                                                         {"stdout", "/proc/self/fd/1"},
                                                         {"stderr", "/proc/self/fd/2"}};

Status mount_at(const char* type, const std::string& where, unsigned long flags, const char* options) {
  std::error_code error;
  fs::create_directories(where, error);
  if (::mount(type, where.c_str(), type, flags, options) != 0) return os_error("mount " + where);
  return {};
}

Status copy_in(const std::string& from, const std::string& to, mode_t mode) {
  std::error_code error;
  fs::create_directories(fs::path(to).parent_path(), error);
  if (!error) fs::copy_file(from, to, error);
  if (!error && ::chmod(to.c_str(), mode) != 0) error.assign(errno, std::generic_category());
  if (error) return os_error("copy " + from + " into the guest", error.value());
  return {};
}

Status make_directories(const std::string& root) {
  std::error_code error;
  for (const char* name : {"/etc/ssi", "/run", "/var/cache/ssi", "/view", "/sbin", "/tmp"}) {
    fs::create_directories(root + name, error);
    if (error) return os_error(root + name, error.value());
  }
  ::chmod((root + "/tmp").c_str(), 01777);
  return mount_at("tmpfs", root + "/var/cache/ssi", MS_NOSUID | MS_NODEV | MS_NOEXEC, cache_options);
}

Status bind_from_home(const std::string& path, const std::string& root) {
  if (::mount(path.c_str(), (root + path).c_str(), nullptr, MS_BIND, nullptr) != 0)
    return os_error("bind " + path);
  return {};
}

Status make_device(const Device& device, const std::string& root, bool is_rootless) {
  const std::string path = std::string("/dev/") + device.name;
  const mode_t type = is_rootless ? S_IFREG : S_IFCHR;
  if (::mknod((root + path).c_str(), type | device.mode, makedev(device.major, device.minor)) != 0)
    return os_error("mknod " + path);
  return is_rootless ? bind_from_home(path, root) : Status();
}

Status make_devices(const std::string& root, bool is_rootless) {
  const std::string dev = root + "/dev";
  ::umask(0);
  auto done = mount_at("tmpfs", dev, MS_NOSUID, "mode=755,size=64k");
  if (!done) return done;
  for (const auto& device : devices)
    if (done = make_device(device, root, is_rootless); !done) return done;
  for (const auto& [name, target] : links)
    if (::symlink(target, (dev + "/" + name).c_str()) != 0)
      return os_error(std::string("symlink /dev/") + name);
  done = mount_at(
      "devpts", dev + "/pts", MS_NOSUID | MS_NOEXEC,
      is_rootless ? "newinstance,ptmxmode=0666,mode=620" : "newinstance,ptmxmode=0666,mode=620,gid=5");
  if (done) done = mount_at("tmpfs", dev + "/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  return done;
}

Status make_sys(const std::string& root, bool is_rootless) {
  constexpr unsigned long harmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (!is_rootless) return mount_at("sysfs", root + "/sys", harmless | MS_RDONLY, nullptr);
  const std::string processors = "/sys/devices/system";
  std::error_code error;
  fs::create_directories(root + processors, error);
  auto done = bind_from_home(processors, root);
  if (done && ::mount(nullptr, (root + processors).c_str(), nullptr,
                      MS_REMOUNT | MS_BIND | MS_RDONLY | harmless, nullptr) != 0)
    done = os_error("remount " + processors);
  return done;
}

Status fill_root(const GuestPlan& plan) {
  const std::string& root = plan.mount_point;
  ::umask(022);
  auto done = mount_at("tmpfs", root, MS_NOSUID, root_options);
  if (done) done = make_directories(root);
  if (done) done = copy_in(plan.program, root + "/sbin/ssi-agent", 0755);
  for (const auto& library : plan.libraries)
    if (done) done = copy_in(library, root + library, 0755);
  if (done) done = copy_in(plan.key_file, root + "/etc/ssi/agent.key", 0600);
  constexpr unsigned long harmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (done) done = mount_at("proc", root + "/proc", harmless, nullptr);
  if (done) done = make_sys(root, plan.only.has_value());
  if (done) done = make_devices(root, plan.only.has_value());
  return done;
}

// pivot_root(2), "pivot_root(".", ".")": afterwards nothing of home's file system can be reached.
Status leave_home(const std::string& root) {
  if (::chdir(root.c_str()) != 0) return os_error("chdir " + root);
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return os_error("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return os_error("umount the old root");
  if (::chdir("/") != 0) return os_error("chdir /");
  return {};
}

// A job gets home's limits, and no process can raise its own: the agent must start with the highest ones.
// Soft limits stay as they are (an unlimited soft stack changes how programs are laid out in memory), but for
// descriptors.
void raise_limits() {
  for (int resource = 0; resource < static_cast<int>(RLIM_NLIMITS); resource++) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(resource), &limit);
    limit.rlim_max = RLIM_INFINITY;
    if (resource == RLIMIT_NOFILE) {
      std::ifstream("/proc/sys/fs/nr_open") >> limit.rlim_max;
      limit.rlim_cur = limit.rlim_max;
    }
    ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
  }
}

}  // namespace

const std::uint64_t guest_namespaces =
    CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;
const std::uint64_t rootless_namespaces =
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;

std::vector<std::string> paths_in_ldd(const std::string& text) {
  std::vector<std::string> paths;
  std::istringstream words(text);
  for (std::string word; words >> word;)
    if (word.front() == '/') paths.push_back(word);
  return paths;
}

Result<std::vector<std::string>> libraries_of(const std::string& program) {
  auto text = run_tool({"ldd", program});
  if (!text) return tl::make_unexpected(text.error());
  return paths_in_ldd(*text);
}

bool is_rootless_here() {
  return ::geteuid() != 0 || !has_all_ids();
}

Status enter_guest(const GuestPlan& plan) {
  auto done = plan.only ? become_root_inside(*plan.only) : Status();
  if (done) done = configure_guest_end(plan.network, plan.number);
  if (done && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    done = os_error("make mounts private");
  if (done) done = fill_root(plan);
  if (done && !plan.cgroup.empty()) enter_cgroup(plan.cgroup, plan.mount_point + "/sys/fs/cgroup");
  if (done) done = leave_home(plan.mount_point);
  if (!done) return done;
  std::string name = plan.name();
  if (::sethostname(name.c_str(), name.size()) != 0) return os_error("sethostname");
  raise_limits();
  std::vector<std::string> argv = {"/sbin/ssi-agent"};
  argv.insert(argv.end(), plan.arguments.begin(), plan.arguments.end());
  return exec_daemon(argv, plan.environment, plan.log);
}

}  // namespace ssi
