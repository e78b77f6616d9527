// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/guests.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/options.h"
#include "cli/status_query.h"
#include "cli/table.h"

namespace ssi {
namespace {

constexpr char guests_help[] =
    "usage: ssi guests list [--json]\n"
    "       ssi guests token [--for TIME]\n"
    "       ssi guests approve FINGERPRINT\n"
    "       ssi guests revoke GUEST\n"
    "The guests of the pool, and those that would like to join. All but 'list' want an administrator's key: "
    "in\n"
    "the scheduler's --admit directory a file NAME.pub with the line 'admin KEY' ('ssi key show'). 'ssi pool "
    "up'\n"
    "makes one for whoever calls it.\n"
    "  token     prints a token: guests that show it join by themselves\n"
    "  --for TIME   how long it holds: 90s, 30m, 12h, 7d (default 30m)\n"
    "  approve   takes a guest in that is pending, was refused, or revoked: its console says its "
    "fingerprint\n"
    "  revoke    takes that back; GUEST is its name or fingerprint\n";

std::string heard(const wire::GuestEntry& guest) {
  return guest.silent < 0 ? "-" : fmt::format("{:.0f}s ago", guest.silent);
}

int list(const Options& options, bool json) {
  auto reply = ask_known<wire::GuestsReply>(wire::GuestsRequest{1});
  if (!reply) return options.failed(reply.error().text());
  std::sort(reply->guests.begin(), reply->guests.end(),
            [](const auto& a, const auto& b) { return ::strverscmp(a.name.c_str(), b.name.c_str()) < 0; });
  fmt::print("{}", json ? guests_json(reply->guests) : guests_table(reply->guests));
  return 0;
}

// At all schedulers: one that still admits a guest would place jobs there.
int admit(const Options& options, const std::string& who, bool revoke) {
  std::string name;
  const auto all = ask_all<wire::Admitted>(wire::Admit{1, who, revoke},
                                           [&](const wire::Admitted& reply) { name = reply.name; });
  if (!all && name.empty()) return options.failed(all.error().text());
  const auto done = printable(name) + (revoke ? " is revoked" : " is admitted");
  if (!all) return options.failed(done + ", but not everywhere: " + all.error().text());
  fmt::print("{}\n", done);
  return 0;
}

int token(const Options& options, std::uint32_t seconds) {
  const auto reply = ask_known<wire::TokenReply>(wire::TokenRequest{1, seconds});
  if (!reply) return options.failed(reply.error().text());
  fmt::print("{}\n", reply->token);
  return 0;
}

}  // namespace

Result<std::uint32_t> parse_duration(const std::string& text) {
  std::uint32_t number = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  constexpr std::string_view units = "smhd";
  constexpr std::uint32_t seconds[] = {1, 60, 3600, 86400};
  const auto unit = read.ptr + 1 == end ? units.find(*read.ptr) : std::string_view::npos;
  if (read.ec != std::errc() || number == 0 || unit == std::string_view::npos || number > 1'000'000)
    return failure("'" + text + "' is not a time like 90s, 30m, 12h or 7d");
  return number * seconds[unit];
}

std::string guests_table(const std::vector<wire::GuestEntry>& guests) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATE", "FINGERPRINT", "HEARD", "ADDRESS", "WHY"}};
  for (const auto& guest : guests)
    rows.push_back({guest.name, guest.state, fingerprint(guest.key), heard(guest),
                    guest.address.empty() ? "-" : guest.address, guest.reason});
  return table(rows);
}

std::string guests_json(const std::vector<wire::GuestEntry>& guests) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& guest : guests)
    list.push_back(
        {{"name", guest.name},
         {"state", guest.state},
         {"fingerprint", fingerprint(guest.key)},
         {"key", key_text(guest.key)},
         {"address", guest.address},
         {"uuid", guest.uuid},
         {"reason", guest.reason},
         {"silent", guest.silent < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(guest.silent)}});
  return nlohmann::ordered_json{{"guests", list}}.dump(-1, ' ', false,
                                                       nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

int guests_command(int argc, char** argv) {
  Options options("ssi guests", guests_help);
  bool json = false, timed = false;
  std::uint32_t seconds = 30 * 60;
  options.flag("json", json);
  options.value("for", [&](const std::string& text) {
    const auto duration = parse_duration(text);
    if (duration) seconds = *duration;
    return timed = duration.has_value();
  });
  if (auto status = options.parse(argc, argv)) return *status;
  const auto& words = options.words();
  const std::string what = words.empty() ? "" : words[0];
  const bool names_one = what == "approve" || what == "revoke";
  if (what != "list" && what != "token" && !names_one)
    return options.usage_error("which? 'list', 'token', 'approve' or 'revoke'");
  if (names_one && words.size() < 2) return options.usage_error("'" + what + "' wants a guest");
  if (words.size() > (names_one ? 2U : 1U))
    return options.usage_error("'" + words.back() + "' is one word too many");
  if (json && what != "list") return options.usage_error("--json belongs to 'list'");
  if (timed && what != "token") return options.usage_error("--for belongs to 'token'");
  if (names_one) return admit(options, words[1], what == "revoke");
  return what == "list" ? list(options, json) : token(options, seconds);
}

}  // namespace ssi
