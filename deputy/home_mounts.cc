// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_mounts.h"

#include <poll.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>

namespace ssi {
namespace {

constexpr const char* table = "/proc/self/mountinfo";

constexpr std::array<std::string_view, 27> pseudo_types{
    "autofs",      "binder",   "binfmt_misc", "bpf",        "cgroup",     "cgroup2",
    "configfs",    "debugfs",  "devpts",      "devtmpfs",   "efivarfs",   "fuse.gvfsd-fuse",
    "fuse.portal", "fuse.ssi", "fusectl",     "hugetlbfs",  "mqueue",     "nfsd",
    "nsfs",        "proc",     "pstore",      "rpc_pipefs", "securityfs", "selinuxfs",
    "smackfs",     "sysfs",    "tracefs"};

constexpr std::array<std::string_view, 20> remote_types{
    "9p",    "acfs",  "afs",    "beegfs", "ceph", "cifs",  "coda",   "gfs2",     "gpfs",   "lustre",
    "ncpfs", "ocfs2", "prl_fs", "pvfs2",  "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "fuseblk"};

bool is_remote(std::string_view type) {
  return type == "fuse" || type.starts_with("fuse.") || type.starts_with("nfs") ||
         std::find(remote_types.begin(), remote_types.end(), type) != remote_types.end();
}

// File systems of which a file's ctime tells each change of its content: those of this kernel on a disk. Not tmpfs, on which a mapping
// is written without a trace, nor images that were made with the times of another one (squashfs).
constexpr std::array<std::string_view, 6> lasting_types{"btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs"};

// wire::Mount.identity. Source: statfs(2), f_fsid: of these made from the UUID, or (xfs) the device.
std::uint64_t identity_of(const Fd& fd, const std::string& type) {
  struct statfs on;
  if (std::find(lasting_types.begin(), lasting_types.end(), type) == lasting_types.end() || ::fstatfs(fd.get(), &on) != 0)
    return 0;
  static_assert(sizeof on.f_fsid == sizeof(std::uint64_t));
  std::uint64_t id = 0;
  std::memcpy(&id, &on.f_fsid, sizeof id);
  return id;
}

bool is_below(std::string_view path, std::string_view above) {
  return path.starts_with(above) && (path.size() == above.size() || path[above.size()] == '/');
}

bool is_barred(const MountLine& line) {
  return std::find(pseudo_types.begin(), pseudo_types.end(), line.type) != pseudo_types.end() ||
         is_below(line.path, "/proc") || is_below(line.path, "/sys") || is_below(line.path, "/dev");
}

std::string_view take(std::string_view& rest, char end) {
  const auto length = std::min(rest.find(end), rest.size());
  const auto word = rest.substr(0, length);
  rest.remove_prefix(std::min(length + 1, rest.size()));
  return word;
}

template <class Number>
bool number_from(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// Blank, tab, newline and backslash are written as \040 and so on.
std::string unescape(std::string_view text) {
  const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '7'; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty())
    if (take(options, ',') == wanted) return true;
  return false;
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
bool parse_line(std::string_view text, MountLine& line) {
  unsigned major = 0, minor = 0;
  if (!number_from(take(text, ' '), line.id)) return false;
  take(text, ' ');  // the mount below
  auto device = take(text, ' ');
  if (!number_from(take(device, ':'), major) || !number_from(device, minor)) return false;
  line.dev = ::makedev(major, minor);
  take(text, ' ');  // the root within the file system
  line.path = unescape(take(text, ' '));
  const auto options = take(text, ' ');
  while (!text.empty() && take(text, ' ') != "-") continue;
  line.type = unescape(take(text, ' '));
  take(text, ' ');  // the source
  line.read_only = has_option(options, "ro") || has_option(text, "ro");
  return !line.path.empty() && line.path[0] == '/' && !line.type.empty();
}

Result<std::string> read_table() {
  const Fd fd(::open(table, O_RDONLY | O_CLOEXEC));
  if (!fd) return os_error(std::string("open ") + table);
  std::string text;
  std::array<char, 16384> piece;
  for (;;) {
    const auto got = ::read(fd.get(), piece.data(), piece.size());
    if (got < 0) return os_error(std::string("read ") + table);
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

// Opens the root of that mount. Fails when the path leads elsewhere: the mount lies hidden below a later one.
Fd open_root(const MountLine& line, struct statx& status) {
  Fd fd(::open(line.path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || stat_of(fd.get(), status) != 0) return {};
  const bool tells = status.stx_mask & STATX_MNT_ID;
  return !tells || line.id == 0 || status.stx_mnt_id == line.id ? std::move(fd) : Fd();
}

}  // namespace

std::vector<MountLine> parse_mountinfo(std::string_view text) {
  std::vector<MountLine> lines;
  while (!text.empty()) {
    MountLine line;
    if (parse_line(take(text, '\n'), line)) lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<MountLine> exportable(const std::vector<MountLine>& lines) {
  std::map<std::string, MountLine> last;  // the order of paths puts parents first
  for (const auto& line : lines) last[line.path] = line;
  std::vector<MountLine> exported;
  for (auto& [path, line] : last)
    if (!is_barred(line)) exported.push_back(std::move(line));
  return exported;
}

HomeMounts::HomeMounts() : watch_(::open(table, O_RDONLY | O_CLOEXEC)) {}

bool HomeMounts::changed() {
  pollfd poll{watch_.get(), POLLPRI, 0};
  if (watch_ && ::poll(&poll, 1, 0) > 0 && poll.revents & (POLLPRI | POLLERR)) changed_ = true;
  return changed_;
}

Result<std::vector<HomeMounts::Root>> HomeMounts::read(const ExportPolicy& policy) {
  changed();  // takes the kernel's word for all that came before
  auto text = read_table();
  if (!text) return tl::make_unexpected(text.error());
  changed_ = false;
  const auto lines = parse_mountinfo(*text);
  auto exported = exportable(lines);
  // Without a mount at "/" we live in a chroot: its directory stands for one.
  if (exported.empty() || exported.front().path != "/")
    exported.insert(exported.begin(), MountLine{0, 0, "/", "", false});

  barred_.clear();
  remote_.clear();
  for (const auto& line : lines)
    if (is_barred(line) || policy.hides_path(line.path)) barred_.insert(line.dev);
  std::vector<Root> roots;
  for (const auto& line : exported) {
    struct statx status;
    if (policy.hides_path(line.path)) continue;
    Fd fd = open_root(line, status);
    if (!fd) continue;              // also a mount on a file: that needs no superblock of its own
    const auto id = id_of(status);  // st_dev: on btrfs the table has another number
    const auto [place, isnew] = numbers_.try_emplace(id.dev, next_);
    if (isnew) ++next_;
    if (policy.hides(id)) continue;  // bound here from where it is hidden
    barred_.erase(id.dev);
    const auto identity = identity_of(fd, line.type);
    if (is_remote(line.type)) remote_.insert(place->second);
    roots.push_back({line.path, place->second, line.read_only, id, std::move(fd), identity});
  }
  return roots;
}

std::uint32_t HomeMounts::number(std::uint64_t dev) const {
  const auto found = numbers_.find(dev);
  return found == numbers_.end() ? 0 : found->second;
}

}  // namespace ssi
