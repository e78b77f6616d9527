// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/history.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/table.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr std::size_t usual_limit = 50;

Result<std::string> history_file() {
  auto state = paths::state_dir();
  if (!state) return state;
  return *state + "/history.sqlite";
}

bool parse_number(const std::string& text, std::uint64_t& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

template <class T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

template <class T, class Show>
std::string or_dash(const std::optional<T>& value, Show show) {
  return value ? show(*value) : std::string("-");
}

std::string one_digit(double value) {
  return fmt::format("{:.1f}", value);
}

std::string local_time(double seconds) {
  const auto at = static_cast<std::time_t>(seconds);
  std::tm fields{};
  ::localtime_r(&at, &fields);
  char text[32];
  std::strftime(text, sizeof text, "%F %T", &fields);
  return text;
}

std::string ending(const PastJob& job) {
  if (job.state == "running") return "it has not ended";
  std::string how = job.seconds ? fmt::format("it took {:.1f} s", *job.seconds) : "its end was not seen";
  if (job.status) how += fmt::format(" (status {})", *job.status);
  return how;
}

}  // namespace

std::string history_json(const std::vector<PastJob>& jobs) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& job : jobs)
    list.push_back({{"id", job.id},
                    {"user", job.user},
                    {"home", job.home},
                    {"guest", job.guest},
                    {"command", job.command},
                    {"cpu", or_null(job.cpu)},
                    {"memory", or_null(job.memory)},
                    {"seconds", or_null(job.seconds)},
                    {"status", or_null(job.status)},
                    {"reason", job.reason},
                    {"started", job.started},
                    {"bytes_in", or_null(job.bytes_in)},
                    {"bytes_out", or_null(job.bytes_out)},
                    {"round_trips", or_null(job.round_trips)},
                    {"cache_hits", or_null(job.cache_hits)},
                    {"file_wait", or_null(job.file_wait)}});
  return nlohmann::ordered_json{{"jobs", list}}.dump(-1, ' ', false,
                                                     nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

std::string history_table(const std::vector<PastJob>& jobs) {
  std::vector<Row> rows = {{"JOB", "STARTED", "GUEST", "CPU", "MEMORY", "SECONDS", "STATUS", "COMMAND"}};
  for (const auto& job : jobs)
    rows.push_back(
        {std::to_string(job.id), local_time(job.started), printable(job.guest), or_dash(job.cpu, one_digit),
         or_dash(job.memory, [](std::uint64_t bytes) { return mebibytes(static_cast<double>(bytes)); }),
         or_dash(job.seconds, one_digit),
         or_dash(job.status, [](int status) { return std::to_string(status); }), printable(job.command)});
  return table(rows);
}

std::string why_line(const PastJob& job) {
  const auto where = job.guest == "home" ? "at home" : "on " + printable(job.guest);
  const auto rule = job.rule.empty() ? "no rule matched" : "rule " + printable(job.rule);
  const auto predicted =
      job.predicted ? fmt::format("predicted {:.2g} s of processor", *job.predicted) : "not predicted";
  return fmt::format("job {} {} {} {}: {}; {}; {}; {}\n", job.id, printable(job.command),
                     job.state == "running" ? "runs" : "ran", where, printable(job.reason), rule, predicted,
                     ending(job));
}

int history_command(int argc, char** argv) {
  bool json = false;
  std::uint64_t limit = usual_limit;
  Options options("ssi history",
                  "usage: ssi history [--json] [--limit N]\n"
                  "Your jobs that have ended, newest first, also those that stayed at home (GUEST home; of "
                  "those only the\n"
                  "time is known). STATUS: as a shell shows it, 128+N when signal N ended it.\n"
                  "  --json      for programs: memory in bytes, null what is not known\n"
                  "  --limit N   the newest N (default 50)\n");
  options.flag("json", json);
  options.value("limit",
                [&](const std::string& text) { return parse_number(text, limit) && limit <= 1'000'000; });
  if (auto status = options.parse(argc, argv)) return *status;
  if (!options.words().empty())
    return options.usage_error("'" + options.words()[0] + "' is one word too many");
  const auto file = history_file();
  if (!file) return options.failed(file.error().text());
  const auto jobs = past_jobs(*file, limit);
  if (!jobs) return options.failed(jobs.error().text());
  fmt::print("{}", json ? history_json(*jobs) : history_table(*jobs));
  return 0;
}

int why_command(int argc, char** argv) {
  Options options(
      "ssi why",
      "usage: ssi why JOB\n"
      "Why the job ran where it ran, in one line. JOB: its number in 'ssi ps' or 'ssi history'.\n");
  if (auto status = options.parse(argc, argv)) return *status;
  std::uint64_t id = 0;
  if (options.words().size() != 1) return options.usage_error("which job? 'ssi history' lists them");
  const auto& word = options.words()[0];
  if (!parse_number(word, id) || id > INT64_MAX)
    return options.usage_error("'" + word + "' is no job's number");
  const auto file = history_file();
  if (!file) return options.failed(file.error().text());
  const auto job = find_past_job(*file, id);
  if (!job) return options.failed(job.error().text());
  if (!*job) return options.failed("no job " + word + " of yours is known; 'ssi history' lists them");
  fmt::print("{}", why_line(**job));
  return 0;
}

}  // namespace ssi
