// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/tickets.h"

#include <ctime>

namespace ssi {
namespace {

std::int64_t now_ms() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

Result<Ticket> open_ticket(const AgentOptions& options, const Identity& self, std::string_view sealed) {
  Result<Ticket> ticket = failure("ticket: no scheduler is known");
  for (const auto& key : options.scheduler_keys)
    if ((ticket = Ticket::open(sealed, key, now_ms()))) break;
  if (ticket && ticket->guest_key != self.public_key()) return failure("the ticket is for another guest");
  return ticket;
}

}  // namespace ssi
