// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/ticket.h"

#include "common/wire_msgpack.h"

namespace ssi {
namespace {

constexpr std::size_t signature_size = 64, key_size = 32, nonce_size = 16;
constexpr std::int64_t clock_skew_ms = 5'000;

// Signed before the fields, so that a ticket's signature can never pass for one over anything else.
constexpr std::string_view purpose = "ssi ticket 1\n";

std::string seconds(std::int64_t ms) {
  return std::to_string((ms + 999) / 1000) + " s";
}

}  // namespace

std::string Ticket::seal(const Identity& scheduler) const {
  auto fields = wire::pack(*this);
  return fields + scheduler.sign(std::string(purpose) + fields);
}

Result<Ticket> Ticket::open(std::string_view sealed, std::string_view scheduler_key, std::int64_t now_ms) {
  if (sealed.size() <= signature_size || sealed.size() > wire::max_meta) return failure("ticket: malformed");
  const auto fields = sealed.substr(0, sealed.size() - signature_size);
  if (!verify(scheduler_key, std::string(purpose).append(fields), sealed.substr(fields.size())))
    return failure("ticket: not signed by the scheduler with key " + fingerprint(scheduler_key));
  auto ticket = wire::unpack<Ticket>(fields);
  if (!ticket || ticket->home_key.size() != key_size || ticket->guest_key.size() != key_size ||
      ticket->nonce.size() != nonce_size || ticket->expires_ms - lifetime_ms > ticket->issued_ms)
    return failure("ticket: malformed");
  if (now_ms > ticket->expires_ms)
    return failure("ticket: expired " + seconds(now_ms - ticket->expires_ms) + " ago");
  if (ticket->issued_ms > now_ms + clock_skew_ms)
    return failure("ticket: issued " + seconds(ticket->issued_ms - now_ms) +
                   " in the future: the clocks of guest and scheduler differ");
  return ticket;
}

}  // namespace ssi
