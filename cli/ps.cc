// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/ps.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/status_query.h"
#include "cli/table.h"

namespace ssi {
namespace {

double seconds(std::uint64_t us) {
  return static_cast<double>(us) / 1e6;
}

}  // namespace

std::string ps_json(const std::vector<wire::JobStatus>& jobs) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [guest, use] : jobs)
    list.push_back({{"id", use.job},
                    {"user", use.user},
                    {"home", use.home},
                    {"guest", guest},
                    {"command", use.command},
                    {"cpu", seconds(use.cpu_us)},
                    {"memory", use.memory},
                    {"seconds", use.seconds}});
  return nlohmann::ordered_json{{"jobs", list}}.dump(-1, ' ', false,
                                                     nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string ps_table(const std::vector<wire::JobStatus>& jobs) {
  std::vector<Row> rows = {{"JOB", "USER", "HOME", "GUEST", "CPU", "MEMORY", "SECONDS", "COMMAND"}};
  for (const auto& [guest, use] : jobs)
    rows.push_back({std::to_string(use.job), printable(use.user), printable(use.home), printable(guest),
                    fmt::format("{:.1f}", seconds(use.cpu_us)), mebibytes(static_cast<double>(use.memory)),
                    fmt::format("{:.1f}", use.seconds), printable(use.command)});
  return table(rows);
}

int ps_command(int argc, char** argv) {
  bool json = false;
  Options options(
      "ssi ps",
      "usage: ssi ps [--json]\n"
      "The jobs that run in the pool, everybody's. CPU: seconds of processor so far. Both CPU and MEMORY\n"
      "are of all the job's processes, once a second.\n"
      "  --json   for programs: memory in bytes\n");
  options.flag("json", json);
  if (auto status = options.parse(argc, argv)) return *status;
  if (!options.words().empty())
    return options.usage_error("'" + options.words()[0] + "' is one word too many");
  auto reply = ask_known<wire::JobsReply>(wire::JobsRequest{1});
  if (!reply) return options.failed(reply.error().text());
  std::ranges::sort(reply->jobs, {}, [](const wire::JobStatus& job) { return job.use.job; });
  fmt::print("{}", json ? ps_json(reply->jobs) : ps_table(reply->jobs));
  return 0;
}

}  // namespace ssi
