// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/program_needs.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::chrono::seconds patience{2};
constexpr std::size_t most_said = 1 << 20;            // bytes, of a loader
constexpr std::uint64_t most_content = 96ULL << 20;   // of all files
constexpr std::size_t most_headers = 64;
constexpr std::uint64_t page = 4096, code_edge = 4 * page;

struct Image {
  std::string loader;
  std::vector<Profile::Range> ranges;  // what a start reads
};

// Whole pages, as a mapping reads them. Of code a start touches little but what runs first and last (_init, _fini).
void add_part(std::vector<Profile::Range>& ranges, std::uint64_t offset, std::uint64_t size, bool is_code) {
  const auto from = offset / page * page, to = (offset + size + page - 1) / page * page;
  if (!is_code || to - from <= 2 * code_edge) return ranges.push_back({from, to - from});
  ranges.push_back({from, code_edge});
  ranges.push_back({to - code_edge, code_edge});
}

Image image_of(const std::string& path) {
  Image image;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  ElfW(Ehdr) header;
  if (!fd || ::pread(fd.get(), &header, sizeof header, 0) != sizeof header) return image;
  const bool is_ours = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_phentsize == sizeof(ElfW(Phdr)) &&
                       header.e_ident[EI_CLASS] == (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32);
  if (!is_ours || header.e_phnum > most_headers) return image;
  std::vector<ElfW(Phdr)> parts(header.e_phnum);
  const auto size = parts.size() * sizeof parts[0];
  if (::pread(fd.get(), parts.data(), size, static_cast<off_t>(header.e_phoff)) != static_cast<ssize_t>(size)) return image;
  for (const auto& part : parts) {
    if (part.p_type == PT_LOAD) add_part(image.ranges, part.p_offset, part.p_filesz, part.p_flags & PF_X);
    if (part.p_type != PT_INTERP || part.p_filesz < 2 || part.p_filesz > PATH_MAX) continue;
    std::string name(part.p_filesz - 1, '\0');  // without its NUL
    if (::pread(fd.get(), name.data(), name.size(), static_cast<off_t>(part.p_offset)) == static_cast<ssize_t>(name.size()))
      image.loader = name;
  }
  return image;
}

std::vector<char*> pointers_to(std::string& strings) {
  std::vector<char*> all;
  for (std::size_t at = 0; at < strings.size(); at += std::strlen(strings.data() + at) + 1) all.push_back(strings.data() + at);
  all.push_back(nullptr);
  return all;
}

// What the loader says of the program's libraries; ld.so(8).
std::string listed(const std::string& loader, const std::string& program, std::string environment) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const Fd from(ends[0]);
  Fd to(ends[1]);
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) return {};
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, to.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string words = loader + '\0' + "--list" + '\0' + program + '\0';
  pid_t child = -1;
  const int error = ::posix_spawn(&child, loader.c_str(), &actions, nullptr, pointers_to(words).data(), pointers_to(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  to.reset();
  if (error) return {};
  std::string said;
  bool ended = false;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!ended && said.size() < most_said) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    pollfd readable{from.get(), POLLIN, 0};
    if (left <= 0 || ::poll(&readable, 1, static_cast<int>(left)) <= 0) break;
    std::array<char, 4096> buffer;
    const auto got = ::read(from.get(), buffer.data(), buffer.size());
    if (got > 0) said.append(buffer.data(), static_cast<std::size_t>(got));
    ended = got <= 0;
  }
  if (!ended) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? said : std::string();
}

class Needs {
 public:
  // A file at this path, by way of the symbolic links that lead there.
  void add(const std::string& path, std::vector<Profile::Range> ranges) {
    look_up(path);
    char real[PATH_MAX];
    if (!::realpath(path.c_str(), real)) return;
    look_up(real);
    for (auto& range : ranges) {
      if (range.size == 0 || content_ + range.size > most_content) continue;
      content_ += range.size;
      profile_.read(real, range);
    }
  }
  Profile take() { return std::move(profile_); }

 private:
  // Each name on the way, where it really lies.
  void look_up(const std::string& path) {
    for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      const auto name = path.substr(0, slash);
      const auto last = name.rfind('/');
      char real[PATH_MAX];
      if (last != 0 && ::realpath(name.substr(0, last).c_str(), real))
        profile_.looked_up(std::string(real) + name.substr(last));
      else if (last == 0)
        profile_.looked_up(name);
      if (slash == path.npos) return;
    }
  }

  Profile profile_;
  std::uint64_t content_ = 0;
};

}  // namespace

Profile needs_of(const std::string& program, const std::string& environment) {
  const auto image = image_of(program);
  if (image.loader.empty() || image.loader.front() != '/') return {};
  Needs needs;
  needs.add(program, image.ranges);
  needs.add(image.loader, image_of(image.loader).ranges);
  needs.add("/etc/ld.so.cache", {{0, 1 << 20}});
  const auto said = listed(image.loader, program, environment);
  for (std::size_t at = 0; at < said.size();) {
    const auto end = std::min(said.find('\n', at), said.size());
    const std::string_view line(said.data() + at, end - at);
    at = end + 1;
    // "	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f...)"
    const auto path = line.find("=> /"), address = line.rfind(" (0x");
    if (path == line.npos || address == line.npos || address < path + 3) continue;
    const std::string library(line.substr(path + 3, address - path - 3));
    needs.add(library, image_of(library).ranges);
  }
  return needs.take();
}

}  // namespace ssi
