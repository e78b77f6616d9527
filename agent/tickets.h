// SPDX-License-Identifier: LGPL-2.1-or-later
// What a guest takes for a ticket: signed by one of its schedulers, not expired, for itself.
#pragma once

#include <string_view>

#include "agent/agent_config.h"
#include "common/identity.h"
#include "common/ticket.h"

namespace ssi {

// One line says what is wrong.
Result<Ticket> open_ticket(const AgentOptions& options, const Identity& self, std::string_view sealed);

}  // namespace ssi
