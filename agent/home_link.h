// SPDX-License-Identifier: LGPL-2.1-or-later
// What all superblocks of one home share: the session to its deputy, the numbers of open files, and the
// references that go back to the deputy in batches.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/acknowledged.h"
#include "agent/content_store.h"
#include "agent/late_errors.h"
#include "common/loop.h"
#include "common/session.h"
#include "common/user_namespace.h"
#include "common/wire.h"

namespace ssi {

// What the agent can find out of the guest's tasks, and do with them. Empty where there is no agent (tests).
struct Tasks {
  // Calls back with /proc/TASK/syscall, or nothing.
  std::function<void(pid_t task, std::function<void(const std::string&)> then)> call_of;
  enum class Heard { yes, not_yet, no };
  // The job with this first process cannot go on in a guest: it `what`. "no": its leader has ended, and such are not meant;
  // "not_yet": no such job is known.
  std::function<Heard(pid_t init, const std::string& what, bool survivors)> needs_home;
  // What jobs had changed in file system `fs` is not at home.
  std::function<void(std::uint32_t fs, const LateError& error)> late_error;
  // Says a line to the user of the job with this first process; one of these lines a job.
  std::function<void(pid_t init, const std::string& line)> remark;
  // The number of the job that the task is of; 0: not known.
  std::function<std::uint64_t(pid_t task)> job_of;
};

// What the file requests of a job have cost.
struct FileUse {
  std::uint64_t asked = 0, known = 0;  // that home answered, and that we did
  std::uint64_t waited_ns = 0;         // all tasks together
};

class HomeLink : public std::enable_shared_from_this<HomeLink> {
 public:
  HomeLink(Loop& loop, Session& session)
      : loop_(loop), session_(&session), acknowledged_([this] { send_held(); }), telling_(loop), holding_(loop) {}

  Loop& loop() { return loop_; }

  // nullptr once the link is lost; then error() is the answer to everything. Requests go through call().
  Session* session() { return session_; }
  template <class M>
  void call(const M& request, std::string_view body, std::function<void(Result<typename M::Reply>, std::string_view body)> done,
            Session::Lane lane = Session::Lane::small) {
    tell_opened();
    session_->call(request, body, std::move(done), lane);
  }
  int error() const { return error_; }
  void lose(int error);

  // The only ids of this guest, if it has no others; see to_stat().
  const std::optional<Ids>& squashed() const { return squashed_; }
  void squash(const Ids& ids) { squashed_ = ids; }

  // Calls `f` when the kernel knows all that home has said to be out of date by now; see View.
  void when_told(std::function<void()> f) { tell_ ? tell_(std::move(f)) : f(); }
  void tell_by(std::function<void(std::function<void()>)> tell) { tell_ = std::move(tell); }

  // Whether a request of this user is not of the session's own: home's root has jobs that become others, whose groups
  // home's user database need not know.
  bool is_another(std::uint32_t uid) const { return owner_ && *owner_ == 0 && uid != 0; }
  void belongs_to(std::uint32_t uid, std::uint32_t gid) {
    owner_ = uid;
    group_ = gid;
  }
  wire::Caller owner() const { return {.uid = owner_.value_or(0), .gid = group_}; }

  const Tasks& tasks() const { return tasks_; }
  void watch(Tasks tasks) { tasks_ = std::move(tasks); }

  // A handle never used before. Its lowest bit says whether the file is open for writing: FLUSH has no flags.
  std::uint64_t new_handle(bool writable) { return ++handles_ << 1 | (writable ? 1u : 0u); }
  static bool is_writable(std::uint64_t handle) { return handle & 1; }

  // A number for a request that waits at home, never used before.
  std::uint64_t new_wait() { return ++waits_; }

  void begin_use(std::uint64_t job, const std::string& temporary) {
    uses_.try_emplace(job);
    temporary_[job] = temporary;
  }
  // Whether that is where the job makes its temporary files, whose names nobody else takes.
  bool is_temporary(std::uint64_t job, const std::string& directory) const {
    const auto found = temporary_.find(job);
    return found != temporary_.end() && found->second == directory;
  }
  // A request of the job's (0: of nobody that is known) was answered, by home or by us, after it had waited for so long.
  void used(std::uint64_t job, bool asked, std::uint64_t waited_ns);
  FileUse use_of(std::uint64_t job) const;
  void forget_use(std::uint64_t job) {
    uses_.erase(job);
    temporary_.erase(job);
    found_.erase(job);
    end_lent(job);  // it was killed before it had started
  }

  // A job asked for a name that we knew: home hears of it, in batches, the last by tell_found().
  void found(std::uint64_t job, wire::Name name);
  void tell_found(std::uint64_t job);

  void give_back(const wire::Forgotten& node);
  void give_back(const std::optional<wire::Forgotten>& node) {
    if (node) give_back(*node);
  }
  // Home hears of it before it is asked for anything else or told something (tell_opened()), or soon; of what is closed again
  // by then, only that it was.
  void opened(const wire::Opened& file);
  void tell_opened();
  bool has_open(std::uint64_t node) const;  // of what home has not heard yet that it is open
  void release(std::uint64_t handle, Session::Lane lane = Session::Lane::small);  // send_held() first, if that writes there

  // Files that home has opened for the execve(2) of a job that starts; take_lent(): the handle of one, once, or 0.
  void lend(std::uint64_t job, const std::vector<wire::Lent>& files) {
    for (const auto& file : files) lent_.emplace(file.node, LentTo{file.handle, job});
  }
  std::uint64_t take_lent(std::uint64_t node, std::uint64_t job) {
    const auto [from, to] = lent_.equal_range(node);
    const auto found = std::find_if(from, to, [job](const auto& file) { return job == 0 || file.second.job == job; });
    if (found == to) return 0;
    const auto handle = found->second.handle;
    lent_.erase(found);
    return handle;
  }
  void end_lent(std::uint64_t job) {
    std::erase_if(lent_, [job](const auto& file) { return file.second.job == job; });
  }

  // Something is held back that is to be sent by `send`: soon, and before home is asked for anything, or hears of a job's output, stop or end
  // (tell_opened()). A release of its handle comes behind it.
  static constexpr std::uint64_t held_ms = 50;
  void hold_back(std::function<void()> send);
  void send_held();
  void forget_held();  // home need not hear of it any more

  // What was acknowledged before home has done it, in all file systems.
  Acknowledged& acknowledged() { return acknowledged_; }

  // What was read in earlier sessions, and is; nullptr: it is kept nowhere.
  ContentStore* store() const { return store_.get(); }
  void keep_content_in(std::shared_ptr<ContentStore> store) { store_ = std::move(store); }

  // The number of a node that is made ahead.
  std::uint64_t new_node() { return wire::agents_nodes + ++nodes_; }

 private:
  void flush();
  void tell_files();
  void tell_opened_soon();

  Loop& loop_;
  Session* session_;
  int error_ = 0;
  std::optional<Ids> squashed_;
  std::optional<std::uint32_t> owner_;
  std::uint32_t group_ = 0;
  Tasks tasks_;
  std::function<void(std::function<void()>)> tell_;
  std::uint64_t handles_ = 0, waits_ = 0, nodes_ = 0;
  Acknowledged acknowledged_;
  std::shared_ptr<ContentStore> store_;
  struct LentTo {
    std::uint64_t handle, job;
  };
  std::unordered_multimap<std::uint64_t, LentTo> lent_;  // by node
  std::vector<wire::Forgotten> forgotten_;
  std::map<std::uint64_t, wire::Opened> opened_;  // by handle; in the order in which they were opened
  std::vector<std::uint64_t> visited_;
  Timer telling_, holding_;
  std::function<void()> held_;
  std::unordered_map<std::uint64_t, FileUse> uses_;                  // by job
  std::unordered_map<std::uint64_t, std::string> temporary_;          // the same
  std::unordered_map<std::uint64_t, std::vector<wire::Name>> found_;  // the same
};

}  // namespace ssi
