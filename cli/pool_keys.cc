// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_keys.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "cli/key.h"
#include "cli/pool_record.h"
#include "common/fd.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

std::string login_name(uid_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry ? entry->pw_name : "uid" + std::to_string(uid);
}

// In a child that has become that user for good: no file of his is ever opened, and none made, with root's
// rights.
[[noreturn]] void tell_key_of(const passwd& user, const Fd& answer) {
  bool is_him = ::initgroups(user.pw_name, user.pw_gid) == 0 && ::setgid(user.pw_gid) == 0 &&
                ::setuid(user.pw_uid) == 0;
  ::setenv("HOME", user.pw_dir, 1);
  ::unsetenv("XDG_STATE_HOME");  // root's, if anybody's
  auto identity =
      is_him ? deputy_identity() : Result<Identity>(os_error(std::string("become ") + user.pw_name));
  std::string text = identity ? "k" + identity->public_key() : "e" + identity.error().text();
  [[maybe_unused]] ssize_t n = ::write(answer.get(), text.data(), text.size());
  ::_exit(0);
}

Result<KnownUser> sudo_user(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  if (!user) return failure("SUDO_UID " + std::to_string(uid) + ": no such user");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  Fd answer(ends[0]), their_end(ends[1]);
  pid_t child = ::fork();
  if (child < 0) return os_error("fork");
  if (child == 0) tell_key_of(*user, their_end);
  their_end.reset();
  std::string text;
  char piece[512];
  for (ssize_t n; (n = ::read(answer.get(), piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR);)
    if (n > 0) text.append(piece, static_cast<std::size_t>(n));
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (text.empty() || text[0] != 'k') return failure(text.empty() ? "cannot make his key" : text.substr(1));
  return KnownUser{user->pw_name, text.substr(1)};
}

std::optional<uid_t> uid_from(const char* text) {
  if (!text || !*text) return {};
  char* end = nullptr;
  unsigned long number = std::strtoul(text, &end, 10);
  if (*end || number > 0xFFFFFFFE) return {};
  return static_cast<uid_t>(number);
}

}  // namespace

Result<std::vector<KnownUser>> invoking_users() {
  auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  std::vector<KnownUser> users = {{login_name(::geteuid()), self->public_key()}};
  auto caller = ::geteuid() == 0 ? uid_from(std::getenv("SUDO_UID")) : std::nullopt;
  if (!caller || *caller == 0) return users;
  auto user = sudo_user(*caller);
  if (!user) return because("key of " + login_name(*caller), user.error());
  users.push_back(*user);
  return users;
}

Status admit(const std::string& directory, const std::string& name, const std::string& role,
             const std::string& public_key) {
  return put_file(directory + "/" + name + ".pub", role + " " + key_text(public_key) + "\n");
}

}  // namespace ssi
