// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_life.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "cli/key.h"
#include "cli/pool_cgroup.h"
#include "cli/pool_guest.h"
#include "cli/pool_keys.h"
#include "cli/pool_published.h"
#include "cli/status_query.h"
#include "common/paths.h"
#include "common/tcp.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

constexpr int wait_ms = 10'000;  // for all guests to report
constexpr int grace_ms = 2'000;  // for jobs to end by themselves; then as much for what does not heed SIGTERM
constexpr int scheduler_port = 7700, agent_port = 7701;

std::vector<std::string> environment() {
  std::vector<std::string> variables = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"};
  if (const char* level = std::getenv("SSI_LOG")) variables.push_back(std::string("SSI_LOG=") + level);
  return variables;
}

// Unique per pool: the bridge's index is in its network namespace, of which several can see the same cgroups. A name that another
// pool could come to use would have `down` kill its guests.
std::string cgroup_name(const PoolNetwork& network, int number) {
  struct stat own {};
  ::stat("/proc/self/ns/net", &own);
  return fmt::format("ssi-pool-{}-{}-guest{}", own.st_ino, network.index, number);
}

std::vector<std::string> last_lines(const std::string& text, std::size_t count) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(count));
  return lines;
}

}  // namespace

Result<Pool> Pool::open(Say say) {
  Pool pool;
  pool.say_ = std::move(say);
  pool.rootless_ = is_rootless_here();
  auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  pool.dir_ = *state + "/pool";
  for (const char* name : {"", "/admit", "/root"})
    if (auto made = paths::make_private_dir(pool.dir_ + name); !made)
      return tl::make_unexpected(made.error());
  pool.lock_ = Fd(::open(pool.dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!pool.lock_) return os_error(pool.dir_);
  if (::flock(pool.lock_.get(), LOCK_EX | LOCK_NB) == 0) return pool;
  pool.say_("waiting for another 'ssi pool' command to end");
  if (::flock(pool.lock_.get(), LOCK_EX) != 0) return os_error("lock " + pool.dir_);
  return pool;
}

Result<std::optional<PoolRecord>> Pool::standing() {
  auto record = load_record(dir_ + "/pool.json");
  if (!record && record.error().code == std::errc::no_such_file_or_directory)
    return std::optional<PoolRecord>();
  if (!record) return tl::make_unexpected(record.error());
  bool lives = is_running(record->scheduler);
  for (const auto& guest : record->guests) lives = lives || is_running(guest);
  if (lives && record->complete) return *record;
  say_("cleaning up after a pool that had not ended well");
  if (auto done = down(*record); !done) return tl::make_unexpected(done.error());
  return std::optional<PoolRecord>();
}

Result<Fd> Pool::fresh_log(const std::string& name) const {
  Fd log(
      ::open(log_file(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log) return os_error(log_file(name));
  return log;
}

Status Pool::up(int guests, const std::string& listen, const Wanted& wanted) {
  auto done = bring_up(guests, listen, wanted);
  if (done) return done;
  std::string logs = wanted() ? tail_of_logs() : "";
  std::string text = done.error().text() + logs;
  if (auto gone = down(record_); !gone) text += "\nand while taking it down: " + gone.error().text();
  return failure(text);
}

Status Pool::bring_up(int guests, const std::string& listen, const Wanted& wanted) {
  Programs programs;
  for (auto [name, path] :
       {std::pair("ssi-scheduler", &programs.scheduler), std::pair("ssi-agent", &programs.agent)}) {
    auto found = paths::sibling(name);
    if (!found) return tl::make_unexpected(found.error());
    *path = *found;
  }
  auto libraries = libraries_of(programs.agent);
  if (!libraries) return tl::make_unexpected(libraries.error());
  programs.libraries = *libraries;

  record_ = PoolRecord();
  record_.boot = boot_id();
  record_.planned = guests;
  if (!rootless_) {
    auto network = make_bridge();
    if (!network) return tl::make_unexpected(network.error());
    record_.network = *network;
  }
  auto done = save();
  if (done) done = start_scheduler(programs, listen);
  for (int number = 1; done && number <= guests; number++) {
    if (auto go_on = wanted(); !go_on) return go_on;
    done = start_guest(programs, number);
  }
  if (done) done = wait_for_guests(wanted);
  if (done) done = publish();
  record_.complete = true;
  if (done) done = save();
  return done;
}

Result<std::string> Pool::fresh_address(const std::string& host, int first_port) {
  auto port = reserve_port(host, first_port);
  if (!port) return tl::make_unexpected(port.error());
  ports_.push_back(std::move(port->held));
  return fmt::format("{}:{}", host, port->number);
}

// Every guest of root's has an address of its own, which nobody else can have taken a port of.
Result<std::string> Pool::guest_listens(int number) {
  const auto host = record_.network.guest_address(number);
  if (rootless_) return fresh_address(host, agent_port);
  return fmt::format("{}:{}", host, agent_port);
}

Result<std::string> Pool::scheduler_listens(const std::string& listen) {
  if (listen.empty()) return fresh_address(record_.network.home_address(), scheduler_port);
  if (auto reachable = check_reachable(listen); !reachable) return because("--listen", reachable.error());
  if (auto free = listen_tcp(listen); !free) return because("--listen", free.error());
  return listen;
}

Status Pool::start_scheduler(const Programs& programs, const std::string& listen) {
  std::string key_file = dir_ + "/scheduler.key";
  auto identity = Identity::load_or_create(key_file);
  if (!identity) return tl::make_unexpected(identity.error());
  auto users = invoking_users();
  if (!users) return tl::make_unexpected(users.error());
  for (const auto& user : *users)
    if (auto done = admit(dir_ + "/admit", user.name, "admin", user.public_key); !done) return done;
  auto address = scheduler_listens(listen);
  if (!address) return tl::make_unexpected(address.error());
  record_.address = *address;
  record_.key = key_text(identity->public_key());
  record_.program = programs.scheduler;
  auto log = fresh_log("scheduler");
  if (!log) return tl::make_unexpected(log.error());
  auto child = HeldChild::make(0, [&] {
    return exec_daemon(
        {programs.scheduler, "--listen", record_.address, "--key", key_file, "--admit", dir_ + "/admit"},
        environment(), *log);
  });
  if (!child) return tl::make_unexpected(child.error());
  record_.scheduler = child->id();
  auto done = save();
  if (done) done = child->release();
  if (done) say_(fmt::format("scheduler at {}", record_.address));
  return done;
}

Status Pool::start_guest(const Programs& programs, int number) {
  GuestPlan plan;
  plan.number = number;
  plan.network = record_.network;
  plan.program = programs.agent;
  plan.libraries = programs.libraries;
  plan.key_file = dir_ + "/" + plan.name() + ".key";
  plan.mount_point = dir_ + "/root";
  if (rootless_)
    plan.only = Ids{::geteuid(), ::getegid()};
  else
    plan.cgroup = cgroup_name(record_.network, number);
  plan.environment = environment();
  auto address = guest_listens(number);
  if (!address) return tl::make_unexpected(address.error());
  plan.arguments = {"--name",    plan.name(), "--scheduler", record_.address, "--scheduler-key",
                    record_.key, "--listen",  *address,      "--key",         "/etc/ssi/agent.key"};
  auto identity = Identity::load_or_create(plan.key_file);
  if (!identity) return tl::make_unexpected(identity.error());
  auto done = admit(dir_ + "/admit", plan.name(), "guest", identity->public_key());
  if (!done) return done;
  auto log = fresh_log(plan.name());
  if (!log) return tl::make_unexpected(log.error());
  plan.log = std::move(*log);
  auto child =
      HeldChild::make(rootless_ ? rootless_namespaces : guest_namespaces, [&] { return enter_guest(plan); });
  if (!child) return tl::make_unexpected(child.error());
  record_.guests.push_back(child->id());
  done = save();
  if (done) done = connect_guest(record_.network, number, child->id().pid);
  if (done) done = child->release();
  if (!done) return because(plan.name(), done.error());
  return done;
}

Result<bool> Pool::all_up(const wire::StatusReply& reply) {
  for (const auto& guest : reply.guests) {
    if (guest.state != "up" || std::find(seen_.begin(), seen_.end(), guest.name) != seen_.end()) continue;
    seen_.push_back(guest.name);
    say_(fmt::format("{} at {}: up", guest.name, guest.address));
  }
  return seen_.size() >= record_.guests.size();
}

Status Pool::check_alive() const {
  if (!is_running(record_.scheduler)) return failure("the scheduler ended at once");
  for (std::size_t i = 0; i < record_.guests.size(); i++)
    if (!is_running(record_.guests[i])) return failure(fmt::format("guest{} ended at once", i + 1));
  return {};
}

Status Pool::wait_for_guests(const Wanted& wanted) {
  auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  auto key = parse_key(record_.key);
  if (!key) return tl::make_unexpected(key.error());
  auto reply = watch_status(
      {record_.address, *key}, *self, wait_ms, [this](const auto& now) { return all_up(now); },
      [&] {
        auto go_on = wanted();
        return go_on ? check_alive() : go_on;
      });
  if (!reply) return tl::make_unexpected(reply.error());
  for (std::size_t number = 1; number <= record_.guests.size(); number++)
    if (std::string name = fmt::format("guest{}", number);
        std::find(seen_.begin(), seen_.end(), name) == seen_.end())
      return failure(fmt::format("{} has not reported to the scheduler within {} s", name, wait_ms / 1000));
  return {};
}

Status Pool::publish() {
  std::string text = published_text(record_);
  auto done = put_file(dir_ + "/pool.toml", text, {.mode = 0644});
  if (!done || rootless_) return done;
  auto shared = publish_for_everybody(text);
  if (!shared) return tl::make_unexpected(shared.error());
  if (!*shared)
    say_(fmt::format(
        "note: {} names another pool that is up; only users with this state directory find this one",
        paths::pool_file));
  return {};
}

void Pool::unpublish(const PoolRecord& record) {
  ::unlink((dir_ + "/pool.toml").c_str());
  if (!rootless_) unpublish_for_everybody(published_text(record));
}

Status Pool::down(const PoolRecord& record) {
  unpublish(record);
  Status worst;
  auto keep = [&worst](Status done) {
    if (!done && worst) worst = done;
  };
  // Guests before the scheduler, so that it can still hear where their jobs have gone.
  keep(end_processes(record.guests, grace_ms));
  if (record.scheduler.pid > 0) keep(end_processes({record.scheduler}, grace_ms));
  if (!record.network.is_loopback()) {
    for (int number = 1; number <= record.planned; number++)
      keep(remove_cgroup(cgroup_name(record.network, number)));
    keep(remove_network(record.network, record.planned));
  }
  if (worst && ::unlink((dir_ + "/pool.json").c_str()) != 0 && errno != ENOENT)
    keep(os_error(dir_ + "/pool.json"));
  return worst;
}

std::string Pool::tail_of_logs() const {
  std::string text;
  auto add = [&](const std::string& name) {
    auto log = read_whole(log_file(name));
    if (!log || log->empty()) return;
    text += fmt::format("\nthe end of {}:", log_file(name));
    for (const auto& line : last_lines(*log, 5)) text += "\n  " + line;
  };
  if (record_.scheduler.pid > 0) add("scheduler");
  int shown = 0;  // when many fail, they fail alike
  for (std::size_t number = 1; number <= record_.guests.size() && shown < 2; number++)
    if (std::string name = fmt::format("guest{}", number);
        std::find(seen_.begin(), seen_.end(), name) == seen_.end())
      add(name), shown++;
  return text;
}

}  // namespace ssi
