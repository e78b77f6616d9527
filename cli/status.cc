// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/status_query.h"
#include "cli/table.h"

namespace ssi {
namespace {

std::string gibibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes) / (1 << 30));
}

Row row_of(const wire::GuestStatus& guest) {
  return {guest.name,
          guest.state == "gone" ? fmt::format("gone {:.0f}s", guest.silent) : guest.state,
          std::to_string(guest.cpus),
          fmt::format("{:.2f}", guest.speed),
          fmt::format("{:.1f}", guest.load),
          fmt::format("{:.0f}%", guest.steal * 100),
          fmt::format("{} of {} GiB free", gibibytes(guest.memory_free), gibibytes(guest.memory_total)),
          std::to_string(guest.jobs.size())};
}

}  // namespace

std::string status_json(const std::vector<wire::GuestStatus>& guests) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& guest : guests)
    list.push_back({{"name", guest.name},
                    {"state", guest.state},
                    {"cpus", guest.cpus},
                    {"speed", guest.speed},
                    {"load", guest.load},
                    {"steal", guest.steal},
                    {"memory", guest.memory_free},
                    {"memory_total", guest.memory_total},
                    {"jobs", guest.jobs}});
  return nlohmann::ordered_json{{"guests", list}}.dump(-1, ' ', false,
                                                       nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string status_table(const std::vector<wire::GuestStatus>& guests) {
  std::vector<Row> rows = {{"NAME", "STATE", "CPUS", "SPEED", "LOAD", "STEAL", "MEMORY", "JOBS"}};
  for (const auto& guest : guests) rows.push_back(row_of(guest));
  return table(std::move(rows));
}

int status_command(int argc, char** argv) {
  bool json = false;
  Options options(
      "ssi status",
      "usage: ssi status [--json]\n"
      "The guests that the scheduler knows. SPEED: of one processor, 1.00 is a thousand million steps of a\n"
      "fixed loop a second. LOAD: processors in use. STEAL: share that the guest's host took away.\n"
      "STATE: up, draining (it takes no new jobs: 'ssi drain'), or gone for so long.\n"
      "  --json   for programs: memory in bytes (free), memory_total, jobs as a list of their numbers\n");
  options.flag("json", json);
  if (auto status = options.parse(argc, argv)) return *status;
  if (!options.words().empty())
    return options.usage_error("'" + options.words()[0] + "' is one word too many");
  auto reply = ask_known<wire::StatusReply>(wire::StatusRequest{1});
  if (!reply) return options.failed(reply.error().text());
  // "guest10" comes behind "guest9".
  std::sort(reply->guests.begin(), reply->guests.end(),
            [](const auto& a, const auto& b) { return ::strverscmp(a.name.c_str(), b.name.c_str()) < 0; });
  fmt::print("{}", json ? status_json(reply->guests) : status_table(reply->guests));
  return 0;
}

}  // namespace ssi
