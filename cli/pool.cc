// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>

#include "cli/doctor.h"
#include "cli/options.h"
#include "cli/pool_life.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr int max_guests = 64;
constexpr char pool_help[] =
    "usage: ssi pool up [--guests N] [--scheduler-only] [--listen HOST:PORT]\n"
    "       ssi pool down\n"
    "The embedded pool: a scheduler and guests on this machine, each guest in namespaces of its own.\n"
    "Root's is for everybody, with a network of its own. Any other user's is for him alone, on home's\n"
    "loopback, and its jobs have one user id and one group id.\n"
    "  --guests N         so many guests (default 2, at most 64)\n"
    "  --scheduler-only   no guests\n"
    "  --listen HOST:PORT where guests on other machines ('ssi guest build') reach the scheduler: an address "
    "of\n"
    "                     this machine\n";

volatile std::sig_atomic_t caught = 0;

// Ctrl-C and the like end `up` at its next step, which then takes everything down. A second one changes
// nothing.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int number) { caught = number; };
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaction(number, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // `ssi pool up | head -1` must not leave half a pool
}

Status still_wanted() {
  if (caught) return failure("interrupted: everything is taken down again");
  return {};
}

void say(const std::string& line) {
  fmt::print("pool: {}\n", line);
  std::fflush(stdout);
}

bool take_guests(const std::string& text, int& guests) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), guests);
  return error == std::errc() && end == text.data() + text.size() && guests >= 1 && guests <= max_guests;
}

std::string counted(std::size_t guests) {
  return fmt::format("{} guest{}", guests, guests == 1 ? "" : "s");
}

int already_up(const Options& options, const Pool& pool, const PoolRecord& record, int wanted,
               const std::string& listen) {
  std::string other = "'ssi pool down' first";
  if (!is_running(record.scheduler))
    return options.failed(
        fmt::format("its scheduler has ended (see {}): {}", pool.log_file("scheduler"), other));
  for (std::size_t i = 0; i < record.guests.size(); i++)
    if (std::string name = fmt::format("guest{}", i + 1); !is_running(record.guests[i]))
      return options.failed(fmt::format("{} has ended (see {}): {}", name, pool.log_file(name), other));
  if (wanted >= 0 && static_cast<std::size_t>(wanted) != record.guests.size())
    return options.failed(fmt::format("the pool is up with {}: {}", counted(record.guests.size()), other));
  if (!listen.empty() && listen != record.address)
    return options.failed(fmt::format("the pool is up, its scheduler at {}: {}", record.address, other));
  say(fmt::format("up already, with {}", counted(record.guests.size())));
  return 0;
}

int up(const Options& options, Pool& pool, int wanted, const std::string& listen) {
  auto standing = pool.standing();
  if (!standing) return options.failed(standing.error().text());
  if (*standing) return already_up(options, pool, **standing, wanted, listen);
  std::string missing;
  for (const auto& finding : check_pool_needs())
    if (!finding.is_met && finding.is_needed)
      missing += fmt::format("\n  {}: {}", finding.what, finding.cure);
  if (!missing.empty()) return options.failed("this machine lacks something that a pool needs:" + missing);
  int guests = wanted < 0 ? 2 : wanted;
  if (auto done = pool.up(guests, listen, still_wanted); !done) return options.failed(done.error().text());
  say(guests
          ? fmt::format("{} up; try: ssirun -v --remote uname -n", counted(static_cast<std::size_t>(guests)))
          : "up, with no guests");
  if (guests && pool.is_rootless()) say("note: " + squash_note());
  return 0;
}

int down(const Options& options, Pool& pool) {
  auto standing = pool.standing();
  if (!standing) return options.failed(standing.error().text());
  if (!*standing) {
    const bool is_roots = pool.is_rootless() && ::access(paths::pool_file, F_OK) == 0;
    say(is_roots ? fmt::format("none of yours is up; {} is root's: sudo ssi pool down", paths::pool_file)
                 : "none is up");
    return 0;
  }
  if (auto done = pool.down(**standing); !done) return options.failed(done.error().text());
  say("down");
  return 0;
}

}  // namespace

int pool_command(int argc, char** argv) {
  int guests = -1;
  bool scheduler_only = false;
  std::string listen;
  Options options("ssi pool", pool_help);
  options.value("guests", [&](const std::string& text) { return take_guests(text, guests); });
  options.flag("scheduler-only", scheduler_only);
  options.value("listen", [&](const std::string& text) { return !(listen = text).empty(); });
  if (auto status = options.parse(argc, argv)) return *status;
  const auto& words = options.words();
  if (words.size() != 1 || (words[0] != "up" && words[0] != "down"))
    return options.usage_error("which? 'up' or 'down'");
  bool is_up = words[0] == "up";
  if (!is_up && (guests >= 0 || scheduler_only || !listen.empty()))
    return options.usage_error("'down' takes no options");
  if (guests >= 0 && scheduler_only)
    return options.usage_error("--guests and --scheduler-only exclude each other");
  catch_interrupts();
  auto pool = Pool::open(say);
  if (!pool) return options.failed(pool.error().text());
  if (!is_up) return down(options, *pool);
  return up(options, *pool, scheduler_only ? 0 : guests, listen);
}

}  // namespace ssi
