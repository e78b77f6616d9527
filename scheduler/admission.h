// SPDX-License-Identifier: LGPL-2.1-or-later
// Whose keys the scheduler admits: a directory of files NAME.pub, each one line "guest KEY" or "deputy KEY"
// (64 hexadecimal digits). NAME is the guest's name, or the user's login ("ann", or "ann@workstation" when
// several homes have an ann). Adding a file admits, deleting it revokes; both are noticed without a restart.
#pragma once

#include <time.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

enum class Role { guest, deputy };

struct Member {
  Role role = Role::guest;
  std::string name;  // of the guest, or the login
  std::string key;   // Ed25519, 32 bytes
};

// The member that a file's content describes. `file`: its name within the directory.
Result<Member> parse_member(const std::string& file, std::string_view content);

class Admission {
 public:
  // A directory that is missing, or that others may write, is an error.
  static Result<Admission> open(const std::string& directory);

  // The member whose key's CURVE half this is, or nullptr; valid until the next call.
  const Member* find(std::string_view curve_key);

 private:
  explicit Admission(std::string directory) : directory_(std::move(directory)) {}
  bool changed() const;
  void read();

  std::string directory_;
  std::map<std::string, Member, std::less<>> members_;  // by CURVE key
  timespec modified_{};                                 // the directory's mtime when it was read
  bool settled_ = false;  // and that was long enough ago for another change to show
  std::int64_t read_ms_ = 0;
};

}  // namespace ssi
