// SPDX-License-Identifier: LGPL-2.1-or-later
// The home's file system as a job sees it: one superblock for each of home's file systems, all on one
// session. FUSE requests become wire.h requests to the deputy; answers are asynchronous, on the loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/fd.h"
#include "common/loop.h"
#include "common/session.h"
#include "common/user_namespace.h"
#include "common/wire.h"

namespace ssi {

class ContentStore;
class HomeLink;
struct Tasks;
class Superblock;

class View {
 public:
  // The session must live until lost() or the end of the view.
  View(Loop& loop, Session& session);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  // This guest has these ids and no others: all files are shown as theirs. Before the first add().
  void squash(const Ids& ids);

  // The user at home, and his group. Before the first add().
  void belongs_to(std::uint32_t uid, std::uint32_t gid);

  // What a job is expected to ask for. When all that home has is added.
  void foresee(const wire::Foreseen& foreseen);
  void give_back(const wire::Foreseen& foreseen);  // it is not to be believed any more
  void rest();                                     // no job is here: nothing is expected any more

  // With these a job that needs a FIFO or a socket of home's is found out. Before the first add().
  void watch(Tasks tasks);

  // What is read is kept there for later sessions, and served from there. At any time, once.
  void keep_content_in(std::shared_ptr<ContentStore> store);

  // Serves one of home's file systems on a /dev/fuse descriptor that another process has mounted
  // (fd=,rootmode=40000,user_id=,group_id=,allow_other,max_read=131072). At "/" it gets the guest's own /proc,
  // /sys and /dev as empty directories to mount upon.
  Status add(const wire::Mount& mount, Fd fuse);

  // A job ends: what its file requests have cost, into the fields for it; and home hears what it has asked for.
  // Calls `f` when home has done all that the job was told to be done; nothing more is acknowledged to it before home knows.
  void when_done(std::uint64_t job, std::function<void()> f);
  // Nothing more is acknowledged in the directory before home knows; calls `f` when home has done what was.
  void revoke(std::uint64_t directory, std::function<void()> f);
  // What home has opened for a job that starts, and that it has started, or will not: what it has opened until now home hears first.
  void lend(std::uint64_t job, const std::vector<wire::Lent>& files);
  void started(std::uint64_t job);
  void begin_use(std::uint64_t job, const std::string& temporary);  // where it makes temporary files
  void tell_use(std::uint64_t job, wire::Exited& how) const;
  void forget_use(std::uint64_t job);

  // Takes what the kernel has asked by now: whoever runs umount(8) at home behind a job finds its files closed.
  void catch_up();

  // Something changed at home. Applied in the order of the calls.
  void invalidate(const wire::Invalidate& changed);

  // Calls `f` when the kernel knows all that was given to invalidate() by now: at once, or later from the loop, in the
  // order of the calls. After a second in any case: who waits for us must not wait for whoever holds a notice up.
  void when_told(std::function<void()> f);
  bool told() const { return waiting_.empty() && taken_ == told_; }

  // The link is gone: every pending and later request is answered with this errno.
  void lost(int error);

 private:
  struct Waiting {
    std::uint64_t notice = 0;  // the last one that it waits for
    std::uint64_t due = 0;     // loop time, ms
    std::function<void()> f;
  };
  void notify_next();
  void release();

  Loop& loop_;
  std::shared_ptr<HomeLink> home_;
  std::vector<std::shared_ptr<Superblock>> superblocks_;
  using Parts = std::vector<std::pair<std::shared_ptr<Superblock>, wire::Invalidate>>;
  std::deque<Parts> notices_;  // that the kernel is still to be told
  std::deque<Waiting> waiting_;
  std::uint64_t taken_ = 0, told_ = 0;  // notices
  Timer patience_;
  bool notifying_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
