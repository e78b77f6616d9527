// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "common/fd.h"

namespace ssi {
namespace {

std::string content_of(const Fd& memory) {
  std::string text;
  char piece[4096];
  for (off_t at = 0;;) {
    ssize_t n = ::pread(memory.get(), piece, sizeof piece, at);
    if (n <= 0) return text;
    text.append(piece, static_cast<std::size_t>(n));
    at += n;
  }
}

Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& argv, const Fd& out,
                    const Fd& err) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out.get(), 1);
  posix_spawn_file_actions_adddup2(&files, err.get(), 2);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = 0;
  int error = posix_spawn(&pid, program.c_str(), &files, &attributes, words.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error) return os_error(program, error);
  return pid;
}

}  // namespace

Result<std::string> find_tool(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::istringstream directories(std::string(path ? path : "") + ":/usr/sbin:/sbin:/usr/bin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');)
    if (std::string file = directory + "/" + name; !directory.empty() && ::access(file.c_str(), X_OK) == 0)
      return file;
  return failure("no program '" + name + "'");
}

Result<std::string> run_tool(const std::vector<std::string>& argv) {
  auto program = find_tool(argv.at(0));
  if (!program) return tl::make_unexpected(program.error());
  Fd out(::memfd_create("out", MFD_CLOEXEC)), err(::memfd_create("err", MFD_CLOEXEC));
  if (!out || !err) return os_error("memfd_create");
  auto pid = spawn(*program, argv, out, err);
  if (!pid) return tl::make_unexpected(pid.error());
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0)
    if (errno != EINTR) return os_error("waitpid");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return content_of(out);
  std::string said = content_of(err);
  said = said.substr(0, said.find('\n'));
  return failure(fmt::format("{}: {}", fmt::join(argv, " "), said.empty() ? "failed" : said));
}

}  // namespace ssi
