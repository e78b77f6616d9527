// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/watchdog.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <list>
#include <map>
#include <memory>

#include "common/log.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr std::uint64_t patience_ms = 3'000;  // who cannot be reached at once finds out by its grace

struct Record {
  bool begun;
  char session[wire::session_size];
  char guest_key[32];
  char address[64];  // "": of one that is over
};
static_assert(sizeof(Record) <= PIPE_BUF);  // so none is torn

void end_sessions(const std::map<wire::Bytes, Fence::Target>& sessions) {
  const auto state = paths::state_dir();
  const auto self = state ? Identity::load_or_create(*state + "/keys/deputy.key")
                          : Result<Identity>(tl::make_unexpected(state.error()));
  if (!self) return log::error("{}", self.error().text());
  Loop loop;
  std::list<std::unique_ptr<Fence>> fences;
  auto left = sessions.size();
  for (const auto& [id, target] : sessions)
    fences.push_back(std::make_unique<Fence>(loop, *self, target, patience_ms, [&] {
      if (--left == 0) loop.stop();
    }));
  log::warning("the deputy was killed: ending {} of its sessions", left);
  loop.run();
  fences.clear();
}

[[noreturn]] void watch(const Fd& from) {
  ::prctl(PR_SET_NAME, "ssi-watchdog");
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_IGN);
  ::setpgid(0, 0);
  ::close_range(3, static_cast<unsigned>(from.get()) - 1, 0);
  ::close_range(static_cast<unsigned>(from.get()) + 1, ~0U, 0);
  std::map<wire::Bytes, Fence::Target> sessions;
  Record record;
  while (::read(from.get(), &record, sizeof record) == sizeof record) {
    const wire::Bytes id(record.session, sizeof record.session);
    if (record.begun)
      sessions[id] = {record.address, wire::Bytes(record.guest_key, sizeof record.guest_key), id};
    else
      sessions.erase(id);
  }
  if (!sessions.empty()) end_sessions(sessions);
  ::_exit(0);
}

}  // namespace

Result<Watchdog> Watchdog::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  Fd from(ends[0]), to(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return os_error("fork");
  if (pid == 0) {
    to.reset();
    watch(from);
  }
  ::fcntl(to.get(), F_SETFL, O_NONBLOCK);  // one that is stopped must not hold us up
  return Watchdog(std::move(to));
}

void Watchdog::session_begun(const Fence::Target& target) {
  Record record{};
  record.begun = true;
  if (target.session.size() != sizeof record.session || target.guest_key.size() != sizeof record.guest_key ||
      target.address.size() >= sizeof record.address)
    return;
  target.session.copy(record.session, sizeof record.session);
  target.guest_key.copy(record.guest_key, sizeof record.guest_key);
  target.address.copy(record.address, sizeof record.address);
  (void)!::write(to_.get(), &record, sizeof record);
}

void Watchdog::session_over(const wire::Bytes& session) {
  Record record{};
  session.copy(record.session, sizeof record.session);
  (void)!::write(to_.get(), &record, sizeof record);
}

}  // namespace ssi
