// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/home.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/content_store.h"
#include "agent/guest_job.h"
#include "agent/home_link.h"
#include "agent/inside.h"
#include "agent/job_spec.h"
#include "agent/job_tasks.h"
#include "agent/task_call.h"
#include "agent/task_calls.h"
#include "agent/tickets.h"
#include "agent/view.h"
#include "common/fd_passing.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/session.h"

namespace ssi {
namespace {

constexpr std::uint64_t authenticate_ms = 5'000;
constexpr std::uint64_t max_grace_ms = 24 * 3'600'000;  // jobs of a home that is gone take memory
constexpr std::size_t max_specs = 256;         // jobs whose arguments came and whose Start did not
constexpr std::size_t max_strings = 16 << 20;  // bytes of one job's arguments and environment

// The guest lacks something, for now; nothing is wrong with what was asked for.
bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOSPC || error == EAGAIN;
}

class HomeProcess {
 public:
  HomeProcess(Loop& loop, const AgentOptions& options, const Identity& self, Fd connection, Fd parent);
  void end_if_idle();  // no job is here, and home has all that was said of the last ones
  void end(const std::string& why);

 private:
  void frame(const Session::Incoming& frame);
  void hello(const wire::Hello& hello, std::uint32_t id);
  void from_parent();
  void welcome();
  void mount_done();
  void mount_new(const std::vector<wire::Mount>& mounts);
  void take_words(const wire::Frame& message, std::string_view body);
  void take(const wire::SpecPart& part, std::string_view body);
  void start(wire::Start&& start, std::uint32_t id);
  void launch(const JobSpec& spec, const std::string& user, std::uint32_t id);
  void started(std::uint64_t job, std::uint32_t id);
  void kill(std::uint64_t job);
  void job_over(std::uint64_t job);
  Tasks::Heard needs_home(pid_t init, const std::string& what, bool survivors);
  void late_error(std::uint32_t fs, const LateError& error);
  void remark(pid_t init, const std::string& line);
  void run_waiting();
  Result<Ticket> check_ticket(const std::string& sealed) const;
  void want_store(const std::string& ticket);
  void tell_parent(const inside::ToParent& packet) { (void)send_with_fds(parent_.get(), packet.bytes(), {}); }
  GuestJob* find(std::uint64_t job) {
    const auto found = jobs_.find(job);
    return found == jobs_.end() ? nullptr : found->second.get();
  }

  Loop& loop_;
  const AgentOptions& options_;
  const Identity& self_;
  Fd parent_;
  Session session_;
  View view_;
  Poll parent_poll_;
  std::unique_ptr<StemChannel> stem_;
  TaskCalls calls_;
  JobTasks job_tasks_{init_of};
  Timer patience_;
  wire::Hello hello_;
  std::uint32_t hello_id_ = 0;
  wire::Bytes id_;  // of the session
  bool admitted_ = false, wants_store_ = true;
  std::uint64_t epoch_ = 0;

  std::map<std::string, wire::Mount> mounted_;  // by path: asked for or done
  std::deque<wire::Mount> mounting_;            // in the order asked
  std::vector<wire::Foreseen> foreseen_;        // while something is being mounted
  struct Waiting {
    JobSpec spec;
    std::string user;
    std::uint32_t id;
    bool coherent = false;  // the view
  };
  std::deque<Waiting> waiting_;       // for the view to be mounted and coherent
  std::set<std::uint64_t> remarked_;  // jobs whose user has been told something
  std::set<std::string> nonces_;      // of the tickets whose job has been started
  std::unordered_map<std::uint64_t, JobSpec> specs_;
  std::unordered_map<std::uint64_t, std::unique_ptr<GuestJob>> jobs_;
};

HomeProcess::HomeProcess(Loop& loop, const AgentOptions& options, const Identity& self, Fd connection,
                         Fd parent)
    : loop_(loop),
      options_(options),
      self_(self),
      parent_(std::move(parent)),
      session_(loop, std::move(connection), TlsStream::Side::guest, self, {},
               {[] {}, [this](const Session::Incoming& incoming) { frame(incoming); },
                [this](const Error& why) { end(why.text()); }}),
      view_(loop, session_),
      parent_poll_(loop, parent_.get(), [this](int) { from_parent(); }),
      calls_(loop),
      patience_(loop) {
  view_.watch({[this](pid_t task, auto then) { calls_.ask(*stem_, task, std::move(then)); },
               [this](pid_t init, const std::string& what, bool survivors) {
                 return needs_home(init, what, survivors);
               },
               [this](std::uint32_t fs, const LateError& error) { late_error(fs, error); },
               [this](pid_t init, const std::string& line) { remark(init, line); },
               [this](pid_t task) { return job_tasks_.job_of(task, uv_now(loop_.uv())); }});
  parent_poll_.want(UV_READABLE);
  patience_.once(authenticate_ms, [this] {
    if (!admitted_) end("the peer did not authenticate itself");
  });
}

void HomeProcess::end(const std::string& why) {
  log::info("session of {} ended: {}", hello_.home.empty() ? "a peer" : hello_.home, why);
  view_.lost(EIO);
  loop_.stop();
}

void HomeProcess::end_if_idle() {
  const bool said = session_.kept() == 0;
  if (!admitted_ || (jobs_.empty() && waiting_.empty() && said)) end("this guest ends");
}

Result<Ticket> HomeProcess::check_ticket(const std::string& sealed) const {
  auto ticket = open_ticket(options_, self_, sealed);
  if (!ticket) return ticket;
  if (ticket->home_key != session_.peer_key()) return failure("the ticket is for another home");
  if (ticket->epoch < epoch_) return failure("the ticket is of an earlier life of this guest");
  return ticket;
}

void HomeProcess::frame(const Session::Incoming& frame) {
  auto message = wire::decode_frame(frame.kind, frame.meta);
  if (!message) return session_.close(message.error());
  if (auto* opening = std::get_if<wire::Hello>(&*message)) return hello(*opening, frame.id);
  if (!admitted_)
    return session_.close({std::error_code(EPROTO, std::generic_category()), "frame before Hello"});
  if (auto* start_frame = std::get_if<wire::Start>(&*message))
    return start(std::move(*start_frame), frame.id);
  if (auto* mounts = std::get_if<wire::Mounts>(&*message)) {
    // Behind the names: one that has become a mount point must not be taken for the directory that it was.
    return view_.when_told([this, mounts = std::move(mounts->mounts)] { mount_new(mounts); });
  }
  if (auto* changed = std::get_if<wire::Invalidate>(&*message)) {
    for (const auto& foreseen : std::exchange(foreseen_, {})) view_.give_back(foreseen);  // it may be about these
    return view_.invalidate(*changed);
  }
  if (auto* foreseen = std::get_if<wire::Foreseen>(&*message)) {
    foreseen_.push_back(std::move(*foreseen));
    return run_waiting();
  }
  if (auto* revoked = std::get_if<wire::Revoke>(&*message))
    return view_.revoke(revoked->node, [this, id = frame.id] { session_.reply(id, wire::None{}); });
  if (auto* part = std::get_if<wire::SpecPart>(&*message)) return take(*part, frame.body);
  if (std::holds_alternative<wire::Data>(*message) || std::holds_alternative<wire::End>(*message) ||
      std::holds_alternative<wire::Signal>(*message)) {
    if (view_.told()) return take_words(*message, frame.body);
    return view_.when_told(
        [this, message = std::move(*message), body = std::string(frame.body)] { take_words(message, body); });
  }
  if (auto* credit = std::get_if<wire::Credit>(&*message)) {
    if (auto* job = find(credit->job)) job->credit(credit->stream, credit->bytes);
  } else if (auto* resize = std::get_if<wire::Resize>(&*message)) {
    if (auto* job = find(resize->job)) job->resize(resize->window);
  } else if (auto* foreground = std::get_if<wire::Foreground>(&*message)) {
    if (auto* job = find(foreground->job)) job->foreground(foreground->yes != 0);
  } else if (auto* grace = std::get_if<wire::Grace>(&*message)) {
    session_.set_grace(std::min(grace->ms, max_grace_ms));
  } else if (auto* kill = std::get_if<wire::Kill>(&*message)) {
    this->kill(kill->job);
  } else if (frame.id != 0) {
    session_.fail(frame.id, EOPNOTSUPP);
  }
}

void HomeProcess::hello(const wire::Hello& hello, std::uint32_t id) {
  const auto ticket = check_ticket(hello.ticket);
  if (!ticket) {
    log::warning("refused a session: {}", ticket.error().text());
    session_.fail(id, EACCES);
    return;
  }
  if (hello.version != wire::version) {
    session_.fail(id, EPROTONOSUPPORT);
    return;
  }
  if (admitted_) return session_.fail(id, EALREADY);
  admitted_ = true;
  epoch_ = ticket->epoch;
  hello_ = hello;
  hello_id_ = id;
  view_.belongs_to(hello.uid, hello.gid);
  if (options_.squash_ids) view_.squash({hello.uid, hello.gid});
  inside::ToParent wish{inside::ToParent::want_stem, 0, {}, 0, 0, hello.uid, hello.gid};
  if (::getrandom(wish.session, sizeof wish.session, 0) != sizeof wish.session) return session_.fail(id, EAGAIN);
  id_.assign(wish.session, sizeof wish.session);
  tell_parent(wish);
  want_store(hello.ticket);
}

void HomeProcess::want_store(const std::string& ticket) {
  if (!wants_store_ || ticket.size() > inside::max_ticket) return;
  wants_store_ = false;
  inside::ToParent wish{inside::ToParent::want_store, 0, {}, 0, 0};
  wish.ticket_size = static_cast<std::uint32_t>(ticket.size());
  std::memcpy(wish.ticket, ticket.data(), ticket.size());
  tell_parent(wish);
}

void HomeProcess::from_parent() {
  inside::FromParent packet;
  auto got = receive_with_fds(parent_.get(), {reinterpret_cast<char*>(&packet), sizeof packet});
  if (!got || got->bytes != sizeof packet) return end("the agent ended");
  const bool has_one = got->fds.size() == 1;
  if (packet.kind == inside::FromParent::connection) {
    if (has_one) session_.resume(std::move(got->fds.front()));
    return;
  }
  if (packet.kind == inside::FromParent::store) {
    if (has_one) view_.keep_content_in(ContentStore::open(loop_, std::move(got->fds.front()), packet.limit));
    wants_store_ = packet.error == EBUSY;  // another session of this home's has it, for now: the next Start asks again
    return;
  }
  if (packet.error != 0 || !has_one)
    return session_.fail(hello_id_, packet.error ? packet.error : got->lost ? EMFILE : EPROTO);
  stem_ = std::make_unique<StemChannel>(loop_, std::move(got->fds.front()), [this] { mount_done(); });
  welcome();
}

// From now on the session outlives its connection.
void HomeProcess::welcome() {
  log::info("session of {} began", hello_.home);
  if (hello_.grace_ms > 0)
    session_.endure({id_,
                     std::min(hello_.grace_ms, max_grace_ms),
                     nullptr,
                     [this](const Error& why) { log::warning("the link to {} is broken: {}", hello_.home, why.text()); },
                     [this](std::uint64_t ms) { log::info("the session of {} goes on after {} ms", hello_.home, ms); }});
  session_.reply(hello_id_, wire::Welcome{wire::version, options_.name, id_});
}

// Mounts what is new. When home unmounts something, the deputy ends the session and begins another.
void HomeProcess::mount_new(const std::vector<wire::Mount>& mounts) {
  for (const auto& mount : mounts) {
    if (!stem_ || mount.path.size() >= inside::max_path || mount.path.empty() || mount.path[0] != '/')
      continue;
    if (!mounted_.emplace(mount.path, mount).second) continue;
    inside::ToStem packet{};
    packet.kind = inside::ToStem::mount_fs;
    packet.mount.fs = mount.fs;
    packet.mount.read_only = mount.read_only;
    std::memcpy(packet.mount.path, mount.path.data(), mount.path.size());
    stem_->send(packet);
    mounting_.push_back(mount);
  }
}

void HomeProcess::mount_done() {
  inside::MountDone done;
  auto got = receive_with_fds(stem_->fd(), {reinterpret_cast<char*>(&done), sizeof done});
  if (!got || got->bytes != sizeof done || mounting_.empty()) return end("the stem ended");
  const auto mount = mounting_.front();
  mounting_.pop_front();
  const int error = got->lost ? EMFILE : done.error;
  if (error == 0 && got->fds.size() == 1) {
    if (auto added = view_.add(mount, std::move(got->fds.front())); !added)
      return end(added.error().text());
  } else {
    log::warning("{} of {} is not in the view: {}", mount.path, hello_.home, std::strerror(error));
    // A view that lacks what home has would show jobs an empty directory there.
    if (mount.path == "/" || is_shortage(error)) return end(mount.path + " could not be mounted");
  }
  run_waiting();
}

// In this order: forget what is not true any more, mount what is new, learn what jobs will ask for, start jobs.
void HomeProcess::run_waiting() {
  if (mounting_.empty())
    for (const auto& foreseen : std::exchange(foreseen_, {})) view_.foresee(foreseen);
  while (!waiting_.empty() && waiting_.front().coherent && mounting_.empty()) {
    const auto next = std::move(waiting_.front());
    waiting_.pop_front();
    launch(next.spec, next.user, next.id);
  }
}

// Also one that has not started yet.
void HomeProcess::kill(std::uint64_t job) {
  specs_.erase(job);
  for (auto next = waiting_.begin(); next != waiting_.end(); ++next)
    if (next->spec.start.job == job) {
      session_.fail(next->id, ECANCELED);
      waiting_.erase(next);
      return;
    }
  job_over(job);
}

void HomeProcess::take(const wire::SpecPart& part, std::string_view body) {
  if (!specs_.contains(part.job) && specs_.size() >= max_specs)
    return session_.close(
        {std::error_code(EPROTO, std::generic_category()), "too many jobs that do not start"});
  auto& spec = specs_[part.job];
  auto& strings = part.environment ? spec.environment : spec.arguments;
  strings.append(body);
  if (strings.size() > max_strings)
    session_.close(
        {std::error_code(EPROTO, std::generic_category()), "arguments longer than any kernel takes"});
}

void HomeProcess::start(wire::Start&& start, std::uint32_t id) {
  auto spec = std::move(specs_[start.job]);
  specs_.erase(start.job);
  if (!stem_) return session_.fail(id, EAGAIN);  // it did not wait for our welcome
  const auto ticket = check_ticket(start.ticket);
  if (!ticket || ticket->job != start.job) {
    log::warning("job={} refused: {}", start.job,
                 ticket ? "the ticket is for another job" : ticket.error().text());
    return session_.fail(id, EACCES);
  }
  if (find(start.job) || !nonces_.insert(ticket->nonce).second) return session_.fail(id, EALREADY);
  want_store(start.ticket);
  spec.start = std::move(start);
  waiting_.push_back({std::move(spec), ticket->user, id});
  view_.when_told([this, id] {
    for (auto& one : waiting_)
      if (one.id == id) one.coherent = true;
    run_waiting();
  });
}

// What speaks to a job may speak of what has changed at home: it waits until the job can see that.
void HomeProcess::take_words(const wire::Frame& message, std::string_view body) {
  if (const auto* data = std::get_if<wire::Data>(&message)) {
    auto* job = find(data->job);
    if (job && !job->data(data->stream, body))
      session_.close({std::error_code(EPROTO, std::generic_category()), "more data than the window allows"});
  } else if (const auto* ended = std::get_if<wire::End>(&message)) {
    if (auto* job = find(ended->job)) job->end(ended->stream);
  } else if (const auto* signal = std::get_if<wire::Signal>(&message)) {
    if (auto* job = find(signal->job)) job->signal(*signal);
  }
}

void HomeProcess::launch(const JobSpec& spec, const std::string& user, std::uint32_t id) {
  const auto number = spec.start.job;
  view_.lend(number, spec.start.lent);
  auto job = GuestJob::start(loop_, session_, *stem_, spec, hello_.home, hello_.domain,
                             {[this, id, number] { started(number, id); },
                              [this, id, number](int error) {
                                view_.started(number);
                                session_.fail(id, error);
                                loop_.defer([this, number] { job_over(number); });
                              },
                              [this, number](std::uint64_t cpu_us, std::uint64_t memory) {
                                tell_parent({inside::ToParent::job_used, number, {}, cpu_us, memory});
                              },
                              [this] { view_.catch_up(); },
                              [this, number](wire::Exited& how, std::function<void()> then) {
                                view_.catch_up();
                                view_.when_done(number, [this, number, &how, then = std::move(then)] {
                                  if (find(number)) view_.tell_use(number, how);
                                  then();
                                });
                              },
                              [this, number] {
                                view_.when_done(number, [this, number] {
                                  session_.post(wire::Gone{number}, {}, Session::Lane::bulk);
                                  loop_.defer([this, number] { job_over(number); });
                                });
                              }});
  if (!job) {
    view_.started(number);
    log::warning("job={} cannot be started: {}", number, job.error().text());
    return session_.fail(id, job.error().code ? job.error().code.value() : EIO);
  }
  jobs_.emplace(number, std::move(*job));
  job_tasks_.began(number);
  view_.begin_use(number, temporary_directory(spec.environment));
  inside::ToParent told{inside::ToParent::job_started, number, {}, 0, 0};
  inside::set_text(told.names.user, user);
  inside::set_text(told.names.home, hello_.home);
  inside::set_text(told.names.command, spec.start.path.substr(spec.start.path.rfind('/') + 1));
  tell_parent(told);
}

void HomeProcess::started(std::uint64_t job, std::uint32_t id) {
  if (const auto* running = find(job)) job_tasks_.has_init(job, running->init());
  view_.started(job);
  session_.reply(id, wire::Started{});
}

Tasks::Heard HomeProcess::needs_home(pid_t init, const std::string& what, bool survivors) {
  for (const auto& [number, job] : jobs_) {
    if (job->init() != init) continue;
    if (job->ended() && !survivors) return Tasks::Heard::no;
    session_.post(wire::NeedsHome{number, what});
    return Tasks::Heard::yes;
  }
  return Tasks::Heard::not_yet;
}

// For those jobs that had it open for writing; when some of them cannot be told any more, for every job.
void HomeProcess::late_error(std::uint32_t fs, const LateError& error) {
  std::set<pid_t> inits;
  for (const auto task : error.tasks) inits.insert(init_of(task));
  const auto* its = find(error.job);
  if (error.job != 0 && !its) return;  // it was killed, or has ended with what was told before
  if (its) inits = {its->init()};
  const bool known = !inits.empty() && !inits.contains(0);
  auto path = error.path;
  for (const auto& [at, mount] : mounted_)
    if (mount.fs == fs && at != "/") path.insert(0, at);
  bool told = false;
  for (const auto& [number, job] : jobs_)
    if (!known || inits.contains(job->init())) told |= job->spoiled(path, error.error);
  log::warning("{} of {} could not be written back: {}{}", path, hello_.home, std::strerror(error.error),
               told ? "" : "; the job that changed it has ended before");
}

void HomeProcess::remark(pid_t init, const std::string& line) {
  for (const auto& [number, job] : jobs_)
    if (job->init() == init && remarked_.insert(number).second) session_.post(wire::Remark{number, line});
}

void HomeProcess::job_over(std::uint64_t job) {
  remarked_.erase(job);
  job_tasks_.over(job);
  view_.forget_use(job);
  if (jobs_.size() == 1 && jobs_.contains(job)) view_.rest();
  if (jobs_.erase(job)) tell_parent({inside::ToParent::job_ended, job, {}, 0, 0});
}

}  // namespace

int run_home(const AgentOptions& options, const Identity& self, Fd connection, Fd parent) {
  if (const auto given_up = give_up_privileges(options); !given_up) {
    log::error("{}", given_up.error().text());
    return 1;
  }
  Loop loop;
  auto home = std::make_unique<HomeProcess>(loop, options, self, std::move(connection), std::move(parent));
  const SignalWatch idle(loop, SIGTERM, [&] { home->end_if_idle(); });  // again and again
  const SignalWatch now(loop, SIGINT, [&] { home->end("this guest ends"); });
  loop.run();
  home.reset();  // tells its home; the parent sends its signals until we are gone, and without a watch they would be our end
  return 0;
}

}  // namespace ssi
