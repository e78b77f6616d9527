// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/deep_shell.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "cli/diverted.h"
#include "common/deep_mount.h"
#include "common/fd.h"
#include "common/paths.h"
#include "common/user_namespace.h"

namespace ssi {
namespace {

bool is_deep_already() {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);)
    if (line.find(" - tmpfs " DEEP_SOURCE " ") != std::string::npos) return true;
  return false;
}

// A new user namespace has all capabilities, its bounding set too. Nobody is to get more inside than before.
void drop_bounds_but(const std::vector<int>& kept) {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (std::find(kept.begin(), kept.end(), capability) == kept.end())
      ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

std::vector<int> bounds() {
  std::vector<int> kept;
  for (int capability = 0, has = 0; (has = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0; capability++)
    if (has) kept.push_back(capability);
  return kept;
}

// With the right to mount, as root has it, a mount namespace is all: set-id programs and capabilities stay.
Status leave_namespaces() {
  if (::unshare(CLONE_NEWNS) == 0) return {};
  const Ids ids{::geteuid(), ::getegid()};
  const auto kept = bounds();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return os_error(
        "a user namespace (see user.max_user_namespaces and kernel.unprivileged_userns_clone in sysctl -a)");
  drop_bounds_but(kept);
  return keep_ids_inside(ids);
}

// All files as they are now, at a place of their own. Read-only: who removes everything there must do no harm.
Status keep_originals(const std::string& place, const std::string& runtime) {
  const Fd tree(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) return os_error("open_tree /");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0)
    return os_error("mount_setattr");
  if (::mount(DEEP_SOURCE, place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=64k") != 0)
    return os_error("mount " + place);
  if (::symlink(runtime.c_str(), (place + DEEP_RUNTIME).c_str()) != 0) return os_error(place + DEEP_RUNTIME);
  const auto home = place + DEEP_TREE;
  if (::mkdir(home.c_str(), 0755) != 0) return os_error(home);
  if (::move_mount(tree.get(), "", AT_FDCWD, home.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return os_error("mount " + home);
  return {};
}

// A script's interpreter would open the script by its name, and find ssirun; set-id programs must stay what they are; a
// compiler wrapper is a link under many names, and leads to what is covered itself.
bool is_coverable(const std::string& program, const struct stat& ssirun) {
  struct stat file {};
  if (::stat(program.c_str(), &file) != 0 || !S_ISREG(file.st_mode) || file.st_mode & (S_ISUID | S_ISGID))
    return false;
  if (file.st_dev == ssirun.st_dev && file.st_ino == ssirun.st_ino) return false;
  const auto name = program.substr(program.rfind('/') + 1);
  if (name == "ccache" || name == "distcc" || name == "icecc" || name == "sccache") return false;
  char magic[4] = {};
  std::ifstream(program, std::ios::binary).read(magic, sizeof magic);
  return std::string(magic, sizeof magic) == "\177ELF" && ::access(program.c_str(), X_OK) == 0;
}

}  // namespace

Status enter_deep_shell(const std::vector<std::string>& names) {
  if (is_deep_already()) return {};
  const auto ssirun = paths::sibling("ssirun");
  if (!ssirun) return tl::make_unexpected(ssirun.error());
  const auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  const auto runtime = paths::runtime_dir();
  if (!runtime) return tl::make_unexpected(runtime.error());
  const auto place = *state + "/deep";
  if (auto made = paths::make_private_dir(place); !made) return made;
  struct stat self {};
  if (::stat(ssirun->c_str(), &self) != 0) return os_error(*ssirun);
  if (auto done = leave_namespaces(); !done) return done;
  // What home mounts later is seen inside; nothing from inside is seen at home.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return os_error("make mounts slaves");
  if (auto kept = keep_originals(place, *runtime); !kept) return kept;
  for (const auto& program : programs_named(names))
    if (is_coverable(program, self) &&
        ::mount(ssirun->c_str(), program.c_str(), nullptr, MS_BIND, nullptr) != 0)
      return os_error("mount ssirun over " + program);
  return {};
}

}  // namespace ssi
