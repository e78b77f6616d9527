// SPDX-License-Identifier: LGPL-2.1-or-later
// Guests that ask to be taken in and are not: they wait for an administrator, or were refused. For `ssi guests
// list`; soft state. Pure; times are in ms of any clock that does not jump.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/wire.h"

namespace ssi {

struct Applicant {
  std::string name;  // that it would like
  std::string key, uuid;
  wire::Joining state = wire::Joining::pending;
  std::string reason;
  std::string route;  // of its connection, for an answer
  std::int64_t heard = 0;
};

class Applicants {
 public:
  static constexpr std::size_t most = 256;  // of strangers: the longest silent makes room
  static constexpr std::int64_t forget_ms = 600'000;

  // True when this is news: it was not known, or for another reason.
  bool note(const Applicant& applicant);

  void remove(const std::string& key);
  void sweep(std::int64_t now);

  // All whose key or fingerprint `who` is. Not by name: strangers choose theirs.
  std::vector<Applicant> find(const std::string& who) const;
  std::vector<Applicant> all() const;

 private:
  std::map<std::string, Applicant> by_key_;
};

}  // namespace ssi
