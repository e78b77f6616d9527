// SPDX-License-Identifier: LGPL-2.1-or-later
// Whose keys the scheduler admits: a directory of files NAME.pub, each one line "guest KEY", "deputy KEY" or
// "admin KEY" (64 hexadecimal digits; an admin is a deputy who may also admit and revoke guests). A guest's line
// may end in the UUID of the Xen domain that its key is bound to. NAME is the guest's name, or the user's login
// ("ann", or "ann@workstation" when several homes have an ann). Adding a file admits, deleting it revokes; both
// are noticed without a restart. NAME.revoked has the line of a guest that was revoked, so that it is told so.
#pragma once

#include <time.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace ssi {

enum class Role { guest, deputy, admin };

struct Member {
  Role role = Role::guest;
  std::string name;  // of the guest, or the login
  std::string key;   // Ed25519, 32 bytes
  std::string uuid;  // of a guest's Xen domain; empty: none
};

// What a guest or a login may be called: letters, digits and "._-@", at most 128.
bool is_member_name(std::string_view name);

// The member that a file's content describes. `file`: its name within the directory, NAME.pub or NAME.revoked.
Result<Member> parse_member(const std::string& file, std::string_view content);

class Admission {
 public:
  // A directory that is missing, or that others may write, is an error.
  static Result<Admission> open(const std::string& directory);

  // The member whose key's CURVE half this is, or nullptr; valid until the next call.
  const Member* find(std::string_view curve_key);
  const Member* find_revoked(std::string_view curve_key);

  std::vector<Member> guests();  // admitted
  std::vector<Member> revoked();

  // Admits a guest under the name that it would like, or one like it when that is taken; a revoked one again under
  // the name that it had. Returns the name.
  Result<std::string> admit_guest(const std::string& wish, const std::string& key, const std::string& uuid);

  // Takes the admission of the guest with this name, key or fingerprint back.
  Result<Member> revoke_guest(const std::string& who);

 private:
  explicit Admission(std::string directory) : directory_(std::move(directory)) {}
  using Members = std::map<std::string, Member, std::less<>>;  // by CURVE key

  bool changed() const;
  void refresh();
  const Member* find_in(const Members& members, std::string_view curve_key);
  void read();
  void read_file(const std::string& name);

  std::string directory_;
  Members members_, revoked_;
  timespec modified_{};   // the directory's mtime when it was read
  bool settled_ = false;  // and that was long enough ago for another change to show
  std::int64_t read_ms_ = 0;
};

// True when `who` is this key's digits, or at least the fingerprint that they begin with.
bool names_key(std::string_view who, std::string_view key);

}  // namespace ssi
