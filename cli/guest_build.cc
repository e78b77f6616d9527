// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/guest_build.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "cli/become.h"
#include "cli/options.h"
#include "cli/status_query.h"
#include "common/identity.h"
#include "common/paths.h"
#include "common/tcp.h"

namespace ssi {
namespace {

constexpr char guest_build_help[] =
    "usage: ssi guest build DIR [--scheduler HOST:PORT[#KEY],...] [--token TOKEN]\n"
    "Makes DIR: kernel, initramfs, xl configurations and README. Copy it to a Xen host and start it there.\n"
    "  --scheduler HOST:PORT   where guests reach the scheduler, or several; else those known here. Without "
    "#KEY,\n"
    "                          the key is that of the scheduler known here\n"
    "  --token TOKEN           admits the guest at its first boot ('ssi guests token'); lies in guest.cfg "
    "only\n"
    "Debian's packages are downloaded with apt-get and unpacked; nothing is installed.\n";

// It becomes a word of a kernel's command line within quotes.
bool is_token(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || std::strchr("-_.:=+/", c);
  });
}

// The scheduler as guests are to reach it; they may know it by another address than we do.
Result<SchedulerList> schedulers_for_guests(const std::string& named) {
  if (named.empty()) return known_schedulers();
  auto schedulers = parse_schedulers(named);
  if (!schedulers) return because("--scheduler", schedulers.error());
  for (auto& one : *schedulers) {
    if (!one.key.empty()) continue;
    const auto known = known_schedulers();
    if (!known || known->size() != 1)
      return failure("--scheduler " + one.address + ": its key is not known: give HOST:PORT#KEY (" +
                     (known ? "several schedulers are known here" : known.error().text()) + ")");
    one.key = known->front().key;
    fmt::print("guest: {} with the key of the scheduler that is known here, {}\n", one.address,
               fingerprint(one.key));
  }
  return schedulers;
}

}  // namespace

int guest_command(int argc, char** argv) {
  std::string named, token;
  Options options("ssi guest build", guest_build_help);
  options.value("scheduler", [&](const std::string& text) { return !(named = text).empty(); });
  options.value("token", [&](const std::string& text) { return is_token(token = text); });
  if (auto status = options.parse(argc, argv)) return *status;
  const auto& words = options.words();
  if (words.empty() || words[0] != "build") return options.usage_error("which? 'build' is all there is");
  if (words.size() != 2 || words[1].empty()) return options.usage_error("name one directory");

  const auto script = paths::sibling("guest/build");
  if (!script) return options.failed(script.error().text());
  const auto agent = paths::sibling("ssi-agent");
  if (!agent) return options.failed(agent.error().text());
  const auto schedulers = schedulers_for_guests(named);
  if (!schedulers) return options.failed(schedulers.error().text());
  std::string addresses, keys;  // lists, as an agent's settings are
  for (const auto& one : *schedulers) {
    if (auto reachable = check_reachable(one.address); !reachable)
      return options.failed("scheduler " + reachable.error().text());
    if (one.address.starts_with("127.") || one.address.starts_with("198.18."))
      fmt::print(
          "guest: note: {} is an address of this machine alone; 'ssi pool up --listen', or --scheduler\n",
          one.address);
    addresses += (addresses.empty() ? "" : ",") + one.address;
    keys += (keys.empty() ? "" : ",") + key_text(one.key);
  }
  // The script shall not take a directory for an option of the tools that it calls.
  const auto directory = words[1][0] == '-' ? "./" + words[1] : words[1];
  return options.failed(become({*script, directory, *agent, addresses, keys, token}).text());
}

}  // namespace ssi
