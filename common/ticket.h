// SPDX-License-Identifier: LGPL-2.1-or-later
// The scheduler's permission for one job: signed, so that the agent need not ask anybody.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/identity.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

struct Ticket {
  static constexpr std::int64_t lifetime_ms = 30'000;

  std::string user;       // login name at home
  wire::Bytes home_key;   // Ed25519 key of the deputy
  wire::Bytes guest_key;  // Ed25519 key of the agent
  std::uint64_t job = 0;
  std::uint64_t epoch = 0;     // of the guest; a lower one is fenced
  std::int64_t issued_ms = 0;  // CLOCK_REALTIME
  std::int64_t expires_ms = 0;
  wire::Bytes nonce;       // 16 random bytes
  std::uint32_t cpus = 0;  // 0: as many as there are
  std::uint64_t memory = 0;
  SSI_FIELDS(user, home_key, guest_key, job, epoch, issued_ms, expires_ms, nonce, cpus, memory)

  // Fields and the scheduler's signature over them, as one string.
  std::string seal(const Identity& scheduler) const;

  // Verifies signature and expiry (`now_ms`: CLOCK_REALTIME). One line says what is wrong.
  static Result<Ticket> open(std::string_view sealed, std::string_view scheduler_key, std::int64_t now_ms);
};

}  // namespace ssi
