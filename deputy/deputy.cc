// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/deputy.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <thread>

#include "common/log.h"
#include "common/paths.h"
#include "common/speed.h"

namespace ssi {
namespace {

// Where what jobs change is kept; "" when it cannot be made: then that is elsewhere, or not.
std::string undo_dir(const std::string& state) {
  const auto path = state + "/undo";
  const auto made = paths::make_private_dir(path);
  if (!made) log::warning("{}", made.error().text());
  return made ? path : "";
}

constexpr std::uint64_t listen_again_ms = 5'000, not_called_ms = 60'000;
constexpr std::uint64_t set_aside_ms = 5 * 60 * 1000;
constexpr std::uint64_t fence_ms = 10 * 60 * 1000;

}  // namespace

Deputy::Deputy(Loop& loop, Fd listener, Watchdog watchdog, Identity identity, Context context,
               ExportPolicy policy, const std::string& state)
    : loop_(loop),
      listener_(std::move(listener)),
      watchdog_(std::move(watchdog)),
      identity_(std::move(identity)),
      context_(std::move(context)),
      history_(loop, state + "/history.sqlite"),
      slots_(loop, std::max(1U, std::thread::hardware_concurrency())),
      effects_(loop, undo_dir(state)),
      policy_(std::move(policy)),
      poll_(loop, listener_.fd(), [this](int) { accept_callers(); }),
      idle_(loop) {
  poll_.want(UV_READABLE);
  measure_home();
  watch_idle();
}

Result<std::unique_ptr<Deputy>> Deputy::start(Loop& loop, Fd listener, Watchdog watchdog) {
  auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  auto identity = Identity::load_or_create(*state + "/keys/deputy.key");
  if (!identity) return tl::make_unexpected(identity.error());
  auto context = read_context("/proc/self");
  if (!context) return tl::make_unexpected(context.error());
  const auto config =
      load_config();  // a broken one is told to each caller; until it is mended the defaults hold
  return std::unique_ptr<Deputy>(new Deputy(loop, std::move(listener), std::move(watchdog),
                                            std::move(*identity), std::move(*context),
                                            ExportPolicy(config ? config->exports : ExportRules{}), *state));
}

Deputy::~Deputy() {
  *alive_ = false;
}

void Deputy::accept_callers() {
  for (;;) {
    Fd caller = listener_.accept();
    if (!caller) break;
    jobs_.push_back(std::make_unique<Job>(loop_, *this, std::move(caller)));
  }
  watch_idle();
}

void Deputy::watch_idle() {
  if (!jobs_.empty()) return idle_.stop();
  policy_.forget_former();
  idle_.once(idle_ms, [this] {
    log::info("idle for {} minutes", idle_ms / 60'000);
    loop_.stop();
  });
}

void Deputy::forget(Job& job) {
  jobs_.remove_if([&](const auto& ours) { return ours.get() == &job; });
  watch_idle();
}

Job* Deputy::find(std::uint64_t number) {
  const auto found = std::ranges::find_if(jobs_, [&](const auto& job) { return job->runs() == number; });
  return found == jobs_.end() ? nullptr : found->get();
}

Result<Config> Deputy::config(const std::string& user_file) {
  if (user_file.empty()) {
    auto config = load_config();
    if (config) policy_.follow(config->exports, jobs_.size() == 1);  // that which asks
    return config;
  }
  if (::access(user_file.c_str(), F_OK) != 0) return os_error("SSI_CONFIG: " + user_file);
  return load_config(paths::system_config, user_file, paths::allow_folder);
}

Result<Schedulers*> Deputy::schedulers(const Config& config, const std::string& from_environment) {
  const auto found = find_schedulers(config, from_environment);
  if (!found) return tl::make_unexpected(found.error());
  if (found->empty())
    return failure("no pool is known; start one with 'ssi pool up', or name its scheduler in config.toml");
  std::string name;
  for (const auto& one : *found) name += one.address + " " + one.key;
  auto& links = schedulers_[name];
  if (!links) {
    auto connected = Schedulers::connect(loop_, *found, identity_);
    if (!connected) return tl::make_unexpected(connected.error());
    links = std::move(*connected);
  }
  return links.get();
}

std::string Deputy::callback_address(const Config& config) {
  const auto& home = config.home;
  const auto now = uv_now(loop_.uv());
  if (!home.listen.empty() && (!callbacks_ || home.listen != called_at_.listen) && now >= listen_again_) {
    listen_again_ = now + listen_again_ms;
    if (auto listening = Callbacks::listen(loop_, home.listen)) {
      callbacks_ = std::move(*listening);
      called_at_.listen = home.listen;
    } else {
      log::error("[home] listen: {}", listening.error().text());
    }
  }
  if (!callbacks_ || home.listen != called_at_.listen || now < not_called_until_) return {};
  called_at_.address = home.address.empty() ? home.listen : home.address;
  return called_at_.address;
}

void Deputy::await_guest(GuestLink& link, std::uint64_t job, Schedulers& schedulers) {
  link.await([this, &link, job, &schedulers, rendezvous = std::string()](const wire::Bytes& session, auto connected) mutable {
    callbacks_->cancel(rendezvous);
    rendezvous = callbacks_->expect(std::move(connected));
    // The scheduler calls guests for jobs that are placed there.
    schedulers.call_back({link.a_job().value_or(job), called_at_.address, rendezvous, session});
  });
}

std::shared_ptr<GuestLink> Deputy::guest(const wire::Placed& placed, Schedulers& schedulers,
                                         std::uint64_t grace_ms) {
  const auto name = std::pair(placed.guest_key, placed.epoch);
  // A new epoch needs not mean that the session of the one before is over.
  std::erase_if(guests_, [&](const auto& other) {
    return other.first.first == name.first && other.first.second < name.second && other.second &&
           other.second->jobs() == 0;
  });
  auto& link = guests_[name];
  if (link && link->jobs() == 0 && link->outdated()) link.reset();
  if (link) return link;
  const bool calls = placed.dials_out && callbacks_;
  const auto closed = [this, name, calls] {
    const auto found = guests_.find(name);
    // A firewall, or a wrong address: not every job shall find that out anew.
    if (calls && found != guests_.end() && found->second && !found->second->was_called()) {
      log::warning("no guest reached us at {}: not tried again for a minute", called_at_.address);
      not_called_until_ = uv_now(loop_.uv()) + not_called_ms;
    }
    loop_.defer([this, name] { guests_.erase(name); });
  };
  const auto made = std::make_shared<GuestLink>(
      loop_, identity_, placed, effects_, policy_, grace_ms,
      GuestLink::Events{[this](const Fence::Target& target) { watchdog_.session_begun(target); },
                        [this](const wire::Bytes& session) { watchdog_.session_over(session); },
                        [this](const Fence::Target& target) { fence(target); }, closed});
  link = made;
  if (calls)
    await_guest(*made, placed.job, schedulers);
  else
    made->dial();
  return made;
}

void Deputy::set_aside(const std::string& guest) {
  set_aside_[guest] = uv_now(loop_.uv()) + set_aside_ms;
}

std::vector<std::string> Deputy::set_aside() {
  std::erase_if(set_aside_, [&](const auto& one) { return one.second <= uv_now(loop_.uv()); });
  std::vector<std::string> names;
  for (const auto& [name, until] : set_aside_) names.push_back(name);
  return names;
}

void Deputy::fence(const Fence::Target& target) {
  fences_.emplace_back();
  auto& fence = fences_.back();
  fence = std::make_unique<Fence>(loop_, identity_, target, fence_ms, [this, &fence] {
    fences_.remove_if([&](const auto& one) { return &one == &fence; });
  });
}

// Measured once, off the loop; until it is known the scheduler takes home for as fast as a guest.
void Deputy::measure_home() {
  auto speed = std::make_shared<double>(0);
  loop_.queue_work([speed] { *speed = measure_speed(); },
                   [this, speed, alive = alive_] {
                     if (!*alive) return;
                     home_speed_ = *speed;
                     load_ = Load(*speed);
                   });
}

void Deputy::describe_home(wire::Place& question) {
  const auto load = load_.sample();
  question.home_cpus = load.cpus;
  question.home_speed = load.speed;
  // What fell home a moment ago does not show in the load yet, nor ever does what waits for a slot: counted as at a guest.
  question.home_busy = std::max(load.busy + static_cast<double>(slots_.unshown()), static_cast<double>(slots_.wanted()));
}

void Deputy::log_end(const wire::Placed& placed, const std::string& command,
                     const wire::Exited& exited) const {
  const int status = exited.wait_status;
  log::info("job={} guest={} {}: {} {}, {:.2f} s of processor, {} MiB{}", placed.job, placed.guest, command,
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            static_cast<double>(exited.cpu_us) / 1e6, exited.max_rss >> 20,
            exited.out_of_memory ? ", killed by a guest without memory" : "");
}

}  // namespace ssi
