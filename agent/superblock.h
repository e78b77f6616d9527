// SPDX-License-Identifier: LGPL-2.1-or-later
// One of home's file systems, served on one FUSE connection. The operations (agent/*_operations.cc) turn each
// of the kernel's requests into one for the deputy; what they share is here: nodes, stubs, requests under
// way.
#pragma once

#include <fcntl.h>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "agent/content_stamps.h"
#include "agent/dir_handle.h"
#include "agent/foreseen_content.h"
#include "agent/fuse.h"
#include "agent/home_link.h"
#include "agent/late_errors.h"
#include "agent/leases.h"
#include "agent/listings.h"
#include "agent/made_here.h"
#include "agent/node_refs.h"
#include "agent/read_ahead.h"
#include "agent/recalls.h"
#include "agent/request.h"
#include "agent/small_files.h"
#include "agent/specials.h"
#include "agent/stubs.h"
#include "common/fd.h"
#include "common/loop.h"

namespace ssi {

class Superblock : public std::enable_shared_from_this<Superblock> {
 public:
  // `fuse` is a /dev/fuse descriptor that is mounted already. In "/" are the guest's own /proc, /sys and /dev.
  static Result<std::shared_ptr<Superblock>> open(std::shared_ptr<HomeLink> home, const wire::Mount& mount, Fd fuse);
  Superblock(std::shared_ptr<HomeLink> home, const wire::Mount& mount);
  ~Superblock();

  // ---- for the view

  // The link to home is gone: answers every request that waits with its error, and all later ones.
  void lost();

  void catch_up() {
    for (int turn = 0; turn < turns_to_catch_up && poll_ && drain(); ++turn) {
    }
  }

  void end_foreseen() { foreseen_.reset(); }
  // What a job is expected to ask for: false when it is not of this file system.
  bool foresee(const wire::ForeseenName& name);
  bool foresee(const wire::ForeseenRange& range);

  // What the kernel is to be told is out of date. forget_cached() drops what we hold ourselves and returns
  // the part of `changed` that this superblock may have; tell_kernel() may BLOCK for as long as the kernel
  // holds a lock and waits for an answer of ours: never call it on the loop. It touches nothing but the
  // session.
  wire::Invalidate forget_cached(const wire::Invalidate& changed);
  void tell_kernel(const wire::Invalidate& changed) const;

  // ---- for the operations

  static Superblock& of(fuse_req_t request) { return *static_cast<Superblock*>(fuse_req_userdata(request)); }
  static void init(void* self, fuse_conn_info* connection);

  // The deputy's number of a node that the kernel named.
  std::uint64_t node(fuse_ino_t ino) const { return ino == FUSE_ROOT_ID ? root_ : ino; }

  // A request that the deputy shall answer. nullptr when it is answered already: the link is lost, or `ino`
  // is a stub, which answers `stub_error`.
  RequestPtr begin(fuse_req_t request, fuse_ino_t ino, int stub_error = EROFS);

  // The same for a change of a name in directory `parent`: a stub's name answers `stub_error` too.
  RequestPtr begin(fuse_req_t request, fuse_ino_t parent, const char* name, int stub_error);

  // Asks the deputy. If it agrees and this superblock still is, `then(reply, body)` is called, so it may
  // refer to the superblock; it is called also when the request was answered meanwhile, to give back what the
  // reply gave. Otherwise the request gets the deputy's errno.
  template <class M, class Then>
  void ask(const RequestPtr& request, const M& message, Then then, std::string_view body = {}) {
    ask_or(
        request, message, std::move(then), [](int) { return false; }, body);
  }

  // With a say in errors: `otherwise(errno)` is true when it has answered.
  template <class M, class Then, class Otherwise>
  void ask_or(const RequestPtr& request, const M& message, Then then, Otherwise otherwise,
              std::string_view body = {}) {
    request->wait();
    if (!request->get()) return;  // its task is dying
    request->asks_home();
    if (home_->acknowledged().none()) return send(request, message, std::move(then), std::move(otherwise), body);
    // Home would answer without what was acknowledged before.
    auto f = [weak = weak_from_this(), request, message, then = std::move(then), otherwise = std::move(otherwise),
              body = std::string(body)] {
      const auto self = weak.lock();
      if (!self || !request->get()) return;
      if (!self->home_->session()) return request->error(self->home_->error());
      self->send(request, message, then, otherwise, body);
    };
    const auto node = asked_about(message);
    if (node != 0)
      home_->acknowledged().when_done_with(node, std::move(f));
    else if (is_of_names(message))
      home_->acknowledged().when_done_before(job_of(message), std::move(f));
    else
      home_->acknowledged().when_done_for(0, std::move(f));
  }

  // Which node alone a question is about; 0: it is a change, or of an open file, and comes behind all that jobs here did before: they know of each other's.
  template <class M>
  static std::uint64_t asked_about(const M& message) {
    if constexpr (std::is_same_v<M, wire::Lookup>)
      return message.parent;
    else if constexpr (std::is_same_v<M, wire::Getattr> || std::is_same_v<M, wire::Readlink> || std::is_same_v<M, wire::Access> ||
                       std::is_same_v<M, wire::Getxattr> || std::is_same_v<M, wire::Listxattr> || std::is_same_v<M, wire::Statfs>)
      return message.node;
    else if constexpr (std::is_same_v<M, wire::Open>)
      return message.flags & O_TRUNC ? 0 : message.node;
    else
      return 0;
  }

  // Whether it changes names, and the content of no file: open(2) may empty the one that is there already.
  template <class M>
  static bool is_of_names(const M& message) {
    if constexpr (std::is_same_v<M, wire::Create>)
      return message.flags & O_EXCL;
    else
      return std::is_same_v<M, wire::Mkdir> || std::is_same_v<M, wire::Mknod> || std::is_same_v<M, wire::Symlink> ||
             std::is_same_v<M, wire::Link> || std::is_same_v<M, wire::Unlink> || std::is_same_v<M, wire::Rmdir> ||
             std::is_same_v<M, wire::Rename>;
  }

  template <class M>
  static std::uint64_t job_of(const M& message) {
    if constexpr (requires { message.caller; }) return message.caller.job;
    return 0;
  }

  template <class M, class Then, class Otherwise>
  void send(const RequestPtr& request, const M& message, Then then, Otherwise otherwise, std::string_view body) {
    home_->call<M>(
        message, body,
        [weak = weak_from_this(), request, then = std::move(then), otherwise = std::move(otherwise),
         place = place_in(message), why = why_hidden(message)](Result<typename M::Reply> reply, std::string_view bytes) {
          const auto self = weak.lock();
          if (!self) return;
          if (reply) return then(*reply, bytes);
          if (reply.error().code.value() == wire::hidden)
            return self->met_hidden(request, place, why, std::is_same_v<M, wire::Lookup> ? ENOENT : EACCES);
          const auto error = errno_of(reply.error());
          if (!otherwise(error)) request->error(error);
        });
  }

  // Asks for a change of these nodes: what home said of them before it was done is not true any more.
  using Nodes = std::vector<std::uint64_t>;
  template <class M, class Then>
  void change(const RequestPtr& request, const Nodes& nodes, const M& message, Then then, std::string_view body = {}) {
    change_or(
        request, nodes, message, std::move(then), [](int) { return false; }, body);
  }
  template <class M, class Then, class Otherwise>
  void change_or(const RequestPtr& request, const Nodes& nodes, const M& message, Then then, Otherwise otherwise,
                 std::string_view body = {}) {
    changing(nodes);
    changing_names(message);
    set_unknown(nodes);
    ask_or(
        request, message,
        [this, nodes, message, then = std::move(then)](const typename M::Reply& reply, std::string_view bytes) {
          set_unknown(nodes);
          changing(nodes);
          changing_names(message);
          then(reply, bytes);
        },
        [this, nodes, message, otherwise = std::move(otherwise)](int error) {
          changing(nodes);
          changing_names(message);
          return otherwise(error);
        },
        body);
  }
  void set_unknown(const Nodes& nodes) {
    for (const auto node : nodes) made_.set_unknown(node);
    taken_back_ = {};
  }
  // Also what lies in pages of directories that the kernel has not taken yet.
  void changing(const Nodes& nodes) {
    for (const auto node : nodes) leases_.forget(node);
    if (!nodes.empty())
      for (const auto& [handle, directory] : directories_) drop_untaken(*directory);
  }

  template <class M>
  void changing_names(const M& message) {
    if constexpr (requires { message.parent; }) forget_name({message.parent, message.name});
    if constexpr (requires { message.new_parent; }) forget_name({message.new_parent, message.new_name});
  }

  // A lookup, answered by what is known of the directory. False: home must be asked; perhaps for the whole directory.
  bool find(const RequestPtr& request, fuse_ino_t parent, const char* name);

  // Home has answered a lookup: the directory's listing is to say nothing else.
  void looked_up(fuse_ino_t parent, const std::string& name, std::uint64_t found);

  // Answers with an entry that the deputy gave for this name, and counts it.
  void give(const RequestPtr& request, fuse_ino_t parent, const char* name, const wire::Entry& entry);

  // The same for what lookup found; of a FIFO or a socket perhaps later, or never.
  void give_found(const RequestPtr& request, fuse_ino_t parent, const char* name, const wire::Entry& entry);

  // The same in steps, for answers that carry more than the entry: hold() when it comes from the deputy,
  // describe() it to the kernel, and settle() for the described node: whether the kernel took the answer.
  void hold(const wire::Entry& entry) { refs_.hold(entry.node); }
  // `news`: home has said it now.
  fuse_entry_param describe(const wire::Name& name, const wire::Entry& entry, bool news = true);
  // And of a name that is not there.
  void describe_none(fuse_ino_t parent) { note_given(0, node(parent)); }
  void settle(fuse_ino_t node, bool taken);

  // For an open file that was locked at home, where all is `now`: answers when the kernel holds nothing
  // older. note_locks() says that this may be asked of a file; whether it was, FLUSH wants to know.
  void locked(const RequestPtr& request, fuse_ino_t ino, const wire::Locked& now);
  void note_locks(fuse_ino_t ino) { with_locks_.insert(ino); }
  bool has_locks(fuse_ino_t ino) const { return with_locks_.contains(ino); }
  // Nobody has to hear at once that it is closed, so FLUSH may be spared: there is no lock that ends with a close(2), nor a write
  // that it could report. A lock that comes later ends with RELEASE.
  bool closes_in_silence(fuse_ino_t ino) const { return !has_locks(ino) && writers_.of(node(ino)).empty(); }

  // --- What is acknowledged before home has done it (superblock_ahead.cc). False: home must be asked first.
  bool create_ahead(const RequestPtr& request, wire::Create message, const fuse_file_info& opened);
  bool symlink_ahead(const RequestPtr& request, wire::Symlink message);
  bool unlink_ahead(const RequestPtr& request, const wire::Unlink& message);
  bool take_back(const RequestPtr& request, const wire::Unlink& message);  // of what home has not heard of yet
  bool write_ahead(const RequestPtr& request, std::uint64_t node, const fuse_file_info& info, std::string_view bytes,
                   std::uint64_t offset);
  bool set_ahead(const RequestPtr& request, const wire::Setattr& message);
  bool tell_directory(const RequestPtr& request, std::uint64_t node);
  bool tell_size(const RequestPtr& request, std::uint64_t node);
  bool flush_ahead(const RequestPtr& request, std::uint64_t node, std::uint64_t handle);
  void release(std::uint64_t node, std::uint64_t handle);

  // Home has made a name in the directory; a directory; a file that is open now.
  void lease(std::uint64_t directory, const wire::Made& made, const wire::Caller& of);
  void lease_new(const wire::Made& made, const wire::Caller& of);
  void keep_made(std::uint64_t node, const wire::Made& made, std::uint64_t handle, std::uint64_t job);
  void keep_emptied(std::uint64_t node, const wire::Attr& attr, std::uint64_t handle, std::uint64_t job);
  void look_for_room(std::uint64_t node);
  MadeHere& made() { return made_; }
  void end_made(std::uint64_t node);
  // When all that the job did is at home: what home refused, and nobody was told.
  void end_job(std::uint64_t job);

  // Home has said this of a node.
  void believe(std::uint64_t node, const wire::Attr& attr);

  // As the jobs see it.
  struct stat stat_of(const wire::Attr& attr) const;
  fuse_entry_param stub_param(const Stubs::Stub& stub) const;
  void forget(fuse_ino_t node, std::uint64_t count);

  // Whether the kernel judges by the files' ACLs, since home's file system has them; and that this one has none, as far
  // as is known at the moment.
  bool has_acls() const { return has_acls_; }
  bool is_without_acl(fuse_ino_t ino) const {
    const auto* attr = leases_.attr(node(ino));
    return attr && !attr->acl;
  }

  // Whether open(2) for reading needs no word from home: the kernel has judged the caller's rights by what home said.
  bool opens_itself(std::uint64_t node) const {
    const auto* attr = leases_.attr(node);
    return has_acls_ && attr && attr->nlink > 0;  // one that has lost its name is home's to judge
  }

  // Content of an open file: who reads on from front to back, and only what the kernel caches, is read ahead of.
  void reads_ahead(std::uint64_t handle) { reads_.emplace(handle, std::make_shared<ReadAhead>()); }
  void read(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::uint64_t offset, std::uint32_t size);
  void read_now(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::uint64_t offset, std::uint32_t size);
  void gave_up(std::uint64_t handle) {
    reads_.erase(handle);
    home_->release(handle);
  }

  // The file is about to be run: its set-id bits will have no effect, which its job's user is told once.
  void will_run(const Request& request, std::uint64_t node, const wire::Attr& attr) const;

  // Buffered directory pages, by handle.
  std::shared_ptr<DirHandle> add_directory(std::uint64_t handle);
  std::shared_ptr<DirHandle> directory(std::uint64_t handle) const;
  void remove_directory(std::uint64_t handle);
  void fill(DirHandle& directory, std::uint64_t node, std::int64_t offset, bool plus, const wire::DirPage& page);

  HomeLink& home() { return *home_; }
  Stubs& stubs() { return stubs_; }
  Leases& leases() { return leases_; }
  ContentStamps& contents() { return contents_; }
  Specials& specials() { return specials_; }
  Writers& writers() { return writers_; }

  // Calls `then`, if this superblock still is, when the kernel has no dirty page of the file any more: at once where
  // nobody can have written one.
  void written_back(fuse_ino_t ino, std::function<void()> then);

  // Home has refused a page that was written back.
  void late_error(std::uint64_t node, int error);

 private:
  friend class Request;

  Status mount(Fd fuse);
  static ssize_t write_reply(int fd, iovec* parts, int count, void* self);
  void begin_to_serve();
  void serve();
  static constexpr int turns_to_catch_up = 8;
  void on_requests();
  // False: the kernel asks for nothing more now. Until then (uv_hrtime(); 0: not at all) it waits a little for each request, awake.
  bool drain(std::uint64_t awake_until = 0);
  int receive(std::uint64_t awake_until);  // as fuse_session_receive_buf()
  void unmounted();
  void interrupted(Request& request);
  void watch_dying();
  void drop_untaken(DirHandle& directory);
  std::optional<ContentStore::Key> stored_as(std::uint64_t node) const;
  bool is_stored(std::uint64_t node, std::uint64_t offset, std::uint64_t size) const;
  ReadAhead::Fetch fetcher(std::uint64_t node, std::uint64_t handle);
  SmallFiles::Source small_files_at_home(const wire::Caller& caller);
  void fetch_whole(std::uint64_t node, const wire::Caller& caller, std::uint64_t offset, std::uint32_t size,
                   ReadAhead::Done done);
  void note_order(std::uint64_t directory, bool from_start, const wire::DirPage& page);
  struct Listing {  // of a directory, under way
    std::uint64_t directory, number;
    std::size_t names = 0;
  };
  void list(const Listing& listing, std::int64_t offset, const wire::Caller& caller);
  void list_now(const Listing& listing, std::int64_t offset, const wire::Caller& caller);
  bool leads_to_mount(const wire::Name& name) const;
  void learn(std::uint64_t directory, const wire::DirPage& page);
  void learn(std::uint64_t directory, const std::string& name, const wire::Entry& entry);
  void forget_name(const wire::Name& name);
  struct Ahead {
    std::uint64_t job;
    Nodes nodes;
  };
  std::uint64_t begin_ahead(const Ahead& what, std::size_t bytes, bool is_content);
  template <class M, class Then, class Otherwise>
  void post_ahead(std::uint64_t number, const Nodes& nodes, const M& message, Then then, Otherwise otherwise, std::string_view body);
  template <class M, class Then, class Otherwise>
  void send_ahead(Ahead what, const M& message, Then then, Otherwise otherwise, std::string_view body = {});
  void end_ahead(std::uint64_t number, const Nodes& nodes);
  bool may_acknowledge() const;
  bool may_make(std::uint64_t directory, std::uint64_t job, wire::Makes needed) const;
  bool may_make(const RequestPtr& request, const wire::Name& at, wire::Makes needed);
  wire::Attr new_attr(const Request& request, std::uint32_t mode) const;
  fuse_entry_param add_ahead(const wire::Name& at, std::uint64_t node, const wire::Attr& attr);
  void made_at_home(const wire::Name& at, std::uint64_t node, const wire::Made& made);
  void not_made(const wire::Name& at, std::uint64_t node, std::uint64_t job, int error);
  void look_again_at(const wire::Name& at);
  void expire(std::uint64_t node);
  void touch(std::uint64_t directory);
  struct Held;
  template <class Then, class Otherwise>
  void hold_created(const wire::Create& message, std::uint64_t handle, Then then, Otherwise otherwise);
  void hold(Held what);
  bool was_taken_back_from(std::uint64_t directory) const;
  void send_held();
  bool joins_held(std::string_view bytes, std::uint64_t offset);
  void send_written(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::string_view bytes, std::uint64_t offset);
  void refuse_written(std::uint64_t node, std::uint64_t job, int error);
  void say_late(std::uint64_t node, std::uint64_t job, const std::string& path, int error);
  std::string path_at(const wire::Name& at) const;
  void forget_all_of(const wire::Forgotten& node);
  void drop_held(const std::vector<std::uint64_t>& nodes);
  void note_given(std::uint64_t node, std::uint64_t parent);
  void tell_again_soon(const wire::Invalidate& told);
  void met_hidden(const RequestPtr& request, const wire::Name& place, const char* why, int error);

  // Which name the message is about, or (without one) which node.
  template <class M>
  static wire::Name place_in(const M& message) {
    if constexpr (requires { message.parent; })
      return {message.parent, message.name};
    else if constexpr (requires { message.node; })
      return {message.node, {}};
    else
      return {};
  }

  template <class M>
  static const char* why_hidden(const M& message) {
    if constexpr (requires { message.exec; })
      if (message.exec) return "which may be run but not read";
    return "which is hidden from guests";
  }

  static int errno_of(const Error& error);

  std::shared_ptr<HomeLink> home_;
  std::uint32_t fs_;
  std::uint64_t root_;
  std::uint64_t identity_;  // of the file system, in all sessions; 0: it has none
  const std::string path_;  // of the root
  fuse_session* session_ = nullptr;
  fuse_buf buffer_{};
  std::unique_ptr<Poll> poll_;
  std::uint64_t idle_since_ = 0;  // uv_hrtime()
  Timer patrol_;
  bool can_expire_ = false, is_greeted_ = false, has_acls_ = false;

  NodeRefs refs_;
  Leases leases_;
  Listings listings_;
  MadeHere made_;
  bool has_room_ = false;  // as home has said last
  struct Held {            // of one file, for a moment: that it was made, a write that what follows it may join, that it was closed
    std::uint64_t node = 0, handle = 0, job = 0;
    wire::Create create{};
    std::function<void()> send_create{};  // empty: home has heard of it
    std::uint64_t offset = 0;
    std::string bytes{};
    std::uint64_t create_number = 0, write_number = 0;  // as acknowledged; 0: none
    bool is_released = false;
  };
  Held held_;  // handle 0: none
  struct TakenBack {
    std::uint64_t directory = 0, at = 0;  // loop time, ms
  };
  TakenBack taken_back_;  // the last one
  Stubs stubs_;
  ContentStamps contents_;
  Recalls recalls_;
  Specials specials_;
  Writers writers_;
  std::unordered_map<std::uint64_t, std::shared_ptr<DirHandle>> directories_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ReadAhead>> reads_;  // by handle
  SmallFiles small_files_;
  std::shared_ptr<ForeseenContent> foreseen_;
  struct Given {
    std::uint64_t when, node, parent;
  };
  std::deque<Given> given_;    // to the kernel, in the last moments
  wire::Invalidate told_again_;  // what it is to be told once more
  Timer telling_again_;
  bool tells_again_ = false;
  std::unordered_set<Request*> waiting_, interrupted_;
  std::unordered_set<fuse_ino_t> with_locks_;  // files on which processes may have locks
};

}  // namespace ssi
