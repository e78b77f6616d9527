// SPDX-License-Identifier: LGPL-2.1-or-later
// What the file requests share, and one `serve` for each of them. Requests that only touch cached metadata
// are answered on the loop at once; what can wait for a disk goes to the thread pool, which never sees this
// object: it may be gone when the work is done.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/loop.h"
#include "common/session.h"
#include "common/wire.h"
#include "deputy/act_as.h"
#include "deputy/changes_under_way.h"
#include "deputy/effects.h"
#include "deputy/export_policy.h"
#include "deputy/file_id.h"
#include "deputy/file_server.h"
#include "deputy/handed_out.h"
#include "deputy/handles.h"
#include "deputy/home_mounts.h"
#include "deputy/lent_programs.h"
#include "deputy/locks.h"
#include "deputy/nodes.h"
#include "deputy/profile.h"
#include "deputy/reserved_files.h"
#include "deputy/watch.h"

namespace ssi {

class FileService : public std::enable_shared_from_this<FileService> {
 public:
  FileService(Loop& loop, Session& session, Effects& effects, ExportPolicy& policy, FileServer::Limits limits)
      : loop_(loop),
        session_(session),
        effects_(effects),
        policy_(policy),
        nodes_(limits.descriptors ? limits.descriptors : descriptors_for_nodes(),
               [this](std::uint64_t number) { dropped(number); }),
        locks_(Locks::make(loop, effects.unlocks())),
        watch_(loop, limits.watches, [this] { heard(); }),
        reserved_(std::min<std::size_t>(256, descriptors_for_nodes() / 16)),
        gathering_(loop),
        resting_(loop),
        sweeping_(loop),
        when_free_(loop) {
    effects_.links().listen(this, [this](const FileId& file) { linked(file); });
  }
  ~FileService() {
    effects_.links().forget(this);
    effects_.text_uses().forget(this);
    effects_.own_directories().forget(this);
  }

  bool handle(const Session::Incoming& frame);  // file_server.cc: the table of requests
  wire::Mounts mounts();
  bool mounts_changed() { return mounts_.changed() || !announced_; }
  wire::Invalidate stale();
  void tell_stale() { tell(stale()); }
  void tell_news();
  std::uint64_t bytes_read() const { return bytes_read_; }
  std::uint64_t changes() const { return changes_; }
  std::uint64_t bytes_written() const { return bytes_written_; }
  void idle();
  void begin(std::uint64_t job);
  void job_over(std::uint64_t job);
  std::vector<wire::Lent> lend(std::uint64_t job, const std::string& program, const wire::Caller& caller);
  void started(std::uint64_t job);
  Profile recorded(std::uint64_t job);
  void foresee(const Profile& profile);
  bool knows(const std::string& path);
  void offer(std::uint64_t token, const std::shared_ptr<Description>& description);
  ChangesUnderWay& changes_under_way() { return under_way_; }

 private:
  using Id = std::uint32_t;  // of a request
  struct Table;              // of requests
  struct Body {              // a reply whose content is its body
    std::string bytes;
  };

  // --- names (names.cc)
  Answer<wire::Entry> serve(const wire::Lookup& m);
  Answer<wire::Made> serve(const wire::Mknod& m);
  Answer<wire::Made> serve(const wire::Mkdir& m);
  Answer<wire::Made> serve(const wire::Symlink& m);
  Answer<wire::Made> serve(const wire::Link& m);
  Answer<wire::Renamed> serve(const wire::Unlink& m);
  Answer<wire::Renamed> serve(const wire::Rmdir& m);
  Answer<wire::Renamed> serve(const wire::Rename& m);
  void serve(const wire::Forget& m);

  // --- files themselves (attributes.cc)
  Answer<wire::Attr> serve(const wire::Getattr& m);
  void serve(Id id, const wire::Setattr& m, std::string_view);
  Answer<Body> serve(const wire::Readlink& m);
  Answer<wire::Space> serve(const wire::Statfs& m);
  Answer<wire::None> serve(const wire::Access& m);
  void serve(Id id, const wire::Setxattr& m, std::string_view value);
  Answer<Body> serve(const wire::Getxattr& m);
  Answer<Body> serve(const wire::Listxattr& m);
  Answer<wire::None> serve(const wire::Removexattr& m);

  // --- open files (open_files.cc, content.cc)
  void serve(Id id, const wire::Open& m, std::string_view);
  Answer<wire::Attr> open(const wire::Open& m);
  void serve(const wire::Opened& m);
  void serve(const wire::Visited& m);
  void open_pending(const Node& node);  // before its rights change: who has it open keeps it
  std::shared_ptr<OpenFile> find_open(std::uint64_t handle);  // which may have been opened by the guest only
  Answer<wire::Made> serve(const wire::Create& m);
  Answer<wire::Made> create_nameless(const wire::Create& m);
  static int link_reserved(int file, int dir, const wire::Create& m);
  bool looks_again(Node& dir, int fd);
  void add_open(std::uint64_t handle, Node& node, Fd fd, int flags, Rights rights, std::uint64_t job,
                bool runs = false);
  // Whether somebody else runs what this would write, or writes what it would run; perhaps no more in a moment, when a
  // guest's kernel has told of a close(2) or an end.
  bool is_busy(const wire::Open& m);
  bool is_busy(const wire::Create& m);
  bool is_busy(const wire::Setattr& m);
  Answer<wire::None> serve(const wire::Adopt& m);
  void serve(const wire::Release& m);
  Answer<wire::DirPage> serve(const wire::Readdir& m);
  Answer<wire::DirPage> serve(const wire::List& m);
  Answer<wire::DirPage> read_page(Node& dir, OpenFile& file, std::int64_t offset, bool plus, bool& all);
  void serve(Id id, const wire::Read& m, std::string_view);
  void send_content(Id id, const wire::Read& m, const OpenFile& file, std::string bytes);
  void read_description(Id id, const wire::Read& m, std::shared_ptr<OpenFile> file);
  void serve(Id id, const wire::Write& m, std::string_view bytes);
  void serve(Id id, const wire::Flush& m, std::string_view);
  void serve(Id id, const wire::Fsync& m, std::string_view);
  void serve(Id id, const wire::Fallocate& m, std::string_view);
  Answer<wire::Offset> serve(const wire::Seek& m);
  void serve(Id id, const wire::CopyRange& m, std::string_view);

  // --- locks (lock_requests.cc)
  Answer<wire::LockRange> serve(const wire::GetLock& m);
  void serve(Id id, const wire::SetLock& m, std::string_view);
  void serve(Id id, const wire::Flock& m, std::string_view);
  void serve(const wire::CancelLock& m);
  bool is_wal_index(const OpenFile& file);
  std::function<void(int)> locked(Id id, std::uint64_t handle, bool unlocks);

  // --- what a job is expected to ask for (foreseen.cc)
  void serve(const wire::Found& m);
  void note_lookup(std::uint64_t job, const Node& dir, const std::string& name);
  void note_read(const OpenFile& file, std::uint64_t offset, std::uint64_t size);
  using NodesByPath = std::unordered_map<std::string, std::uint64_t>;
  std::optional<std::uint64_t> foresee_path(const std::string& path, NodesByPath& known, wire::Foreseen& message);
  std::optional<std::uint64_t> foresee_name(std::uint64_t parent, const std::string& name, wire::Foreseen& message);

  // --- what they share (file_service.cc)
  // A guest's job has not used up its own descriptors when the deputy has: EMFILE would be a lie.
  static int told(int error) { return error == EMFILE ? ENFILE : error; }
  template <class R>
  void answer(Id id, const Answer<R>& answer) {
    if (!answer) return session_.fail(id, told(answer.error()));
    session_.reply(id, *answer);
  }
  void answer(Id id, const Answer<Body>& answer) {
    if (!answer) return session_.fail(id, told(answer.error()));
    session_.reply(id, wire::None{}, answer->bytes);
  }
  void answer_errno(Id id, int error) {
    error ? session_.fail(id, told(error)) : session_.reply(id, wire::None{});
  }

  // A node that the guest has, and the descriptor of it. ESTALE: none.
  struct Held {
    Node* node = nullptr;
    Descriptor path;
    bool heard = false;  // of a directory: what happens to its names
    int fd() const { return path->get(); }
  };
  Answer<Held> hold(std::uint64_t number);
  Answer<Held> hold_dir(std::uint64_t number,
                        std::string_view name);  // and the name is one that may be in it

  // Gives the file at a name: looks it up as the deputy itself (after a change), or takes what was just
  // opened.
  Answer<wire::Entry> give_new(Node& dir, int dir_fd, const std::string& name, std::uint64_t as);
  Answer<wire::Entry> give(Node& dir, const std::string& name, struct statx status, Fd fd = {}, std::uint64_t as = 0);
  // The errno of what is kept from guests, which the log tells of.
  int not_shown(const Node& dir, const std::string& name, Kept kept);
  std::string target_of(const Node& node, Node& dir, const std::string& name);
  // The same, of an entry that the guest's kernel may not take: then it goes on believing what the name led to before.
  Answer<wire::Entry> give_ahead(Node& dir, const std::string& name, struct statx status);
  Answer<wire::Attr> tell_attr(Node& node, int fd);
  bool has_acl(const FileId& id, Node& dir, const std::string& name, int fd);
  std::uint32_t fs_of(std::uint64_t dev, const Node& dir);

  // Which file has that name now.
  static std::optional<FileId> file_at(int dir, const std::string& name);
  Node* keep_reachable(
      const std::optional<FileId>& id);  // the node, when the guest has it, with its descriptor open
  Answer<wire::Renamed> remove_name(const wire::Unlink& m, bool directory);

  // Makes a name in a directory, as the caller: `make` is called with the directory's descriptor and its
  // errno decides.
  Answer<wire::Made> make_name(Change::Kind kind, std::uint64_t parent, const std::string& name,
                               const wire::Caller& caller, const Node* subject, int subject_fd, std::uint64_t as,
                               const std::function<int(int dir)>& make);

  int apply(Change change, const std::function<int()>& perform) {
    change.session = this;
    return effects_.apply(policy_, change, [&] {
      ++changes_;  // what the policy refuses is none
      return perform();
    });
  }
  UndoContent content(Change change) {
    change.session = this;
    return effects_.content(change);
  }
  // As stat_of(), without the names of the file that are the undo journal's.
  int look_at(int fd, struct statx& status) const { return without_ours(stat_of(fd, status), status); }
  int look_at(int dir, const std::string& name, struct statx& status) const {
    return without_ours(stat_at(dir, name.c_str(), status), status);
  }
  int without_ours(int error, struct statx& status) const {
    if (!error) status.stx_nlink -= effects_.links_kept(id_of(status));
    return error;
  }

  // Changes an open file on the thread pool in its order, and then replies.
  // `range`: of the content that is overwritten; `work` returns an errno.
  void change_open_file(Id id, Change::Kind kind, std::uint64_t handle,
                        std::function<UndoContent::Range()> range, std::function<int()> work,
                        std::function<void(FileService&, int error)> done);
  void change_made();  // behind the change's own end: who hears of it then finds no file of ours open
  // Calls `f` with this service, if there still is one then.
  std::function<void()> later(std::function<void(FileService&)> f);

  template <class Open>
  static int with_room(Nodes& nodes, const Open& open) {
    const int error = open();
    if (error != EMFILE && error != ENFILE) return error;
    nodes.close_idle();
    return open();
  }

  // --- what the guest may make by itself (makes.cc)
  wire::Made made(const wire::Entry& entry, Node& dir, int dir_fd);  // the answer to who made it
  void reserve_more(wire::Made& made, int dir, const wire::Caller& caller, bool used_one);
  wire::Makes lease_of(Node& dir, int fd, std::uint64_t job);  // not `all`: that is for who makes a directory to say
  bool own(const Node& dir, std::uint64_t job);                // false: another's, or there are too many
  bool may_name(std::uint64_t node);                           // a node of the guest's, that is
  static std::uint8_t room_at(int fd);                         // wire::Made.room
  void look_for_others(Node& dir, int fd);
  void look_for_others(const std::unordered_set<std::uint64_t>& dirs);
  void met_others(const Node& dir);
  void note_own(Node& dir, int fd);  // behind a change of its names
  bool is_quiet(std::uint64_t dir) const;
  bool takes_over(std::uint64_t parent, const Node& dir);

  // --- what the guest believes (coherence.cc)
  struct Touched;
  using Seen = std::unordered_map<std::uint64_t, wire::Attr>;
  Watch::Heard listen(Node& node, std::uint32_t links = 1);
  wire::Attr attr_to_tell(Node& node, struct statx& status, bool heard);
  void changed_by_guest(std::initializer_list<const Node*> nodes);
  void emptied_by_guest(const Node& node, const struct statx& status);
  void retimed_by_guest(std::initializer_list<Node*> nodes);
  void attribute_set_by_guest(Node& node, std::string_view name);
  void linked(const FileId& file);
  void will_write(const Node& node, int fd);
  const wire::Attr* look_once(std::uint64_t number, Seen& seen);
  bool is_resized(std::uint64_t number, Seen& seen);
  bool is_by_others(std::uint64_t number, Seen& seen);
  void forget_own_name(std::uint64_t parent, const std::string& name);
  void moved_by_guest(const HandedOut::Names::key_type& from, const HandedOut::Names::key_type& to,
                      bool exchanged, const Node* moved);
  void heard();
  wire::Invalidate news();
  void note_touched(const Touched& touched, wire::Invalidate& stale);
  void note_all(wire::Invalidate& stale);
  void listen_again(wire::Invalidate& stale);
  void note_unheard(const std::vector<std::uint64_t>& watched, wire::Invalidate& stale);
  void sweep();
  void dropped(std::uint64_t number);
  void opened_lately(const Node& node);
  void closed(const Node& node);
  // `heard`: something happened to it.
  void note_if_stale(std::uint64_t node, Seen& seen, wire::Invalidate& stale, bool heard = false);
  std::optional<std::uint64_t> leads_to(std::uint64_t parent, const std::string& name, Seen& seen);
  // `parent` 0: in all directories.
  void note_stale_names(wire::Invalidate& stale, Seen& seen, std::uint64_t parent = 0);
  void tell(wire::Invalidate stale);
  wire::Invalidate stale_in(std::uint64_t parent);  // the same as stale(), of one directory's names and nodes

  Loop& loop_;
  Session& session_;
  Effects& effects_;
  ExportPolicy& policy_;
  Callers callers_;
  HomeMounts mounts_;
  Nodes nodes_;
  Handles handles_;
  std::shared_ptr<Locks> locks_;
  std::map<std::uint64_t, std::weak_ptr<Description>> offered_;  // by token
  HandedOut handed_out_;
  Watch watch_;
  ReservedFiles reserved_;
  LentPrograms lent_;
  Timer gathering_, resting_, sweeping_, when_free_;
  std::vector<std::function<void()>> busy_;  // requests that wait for a file to be free
  bool rests_ = false;              // no job runs: nothing is to stay open
  std::uint64_t told_news_at_ = 0;  // loop time, ms
  std::unordered_set<std::uint64_t>
      contents_;  // nodes whose content the guest has read since it was told to forget it
  std::deque<std::uint64_t> opened_lately_;          // regular files, the latest last, each once
  std::vector<std::uint64_t> opened_by_lease_;       // since the last sweep
  std::vector<std::uint64_t> to_sweep_;              // files that are still to be looked at in this second
  std::size_t swept_at_once_ = 0;
  bool sweeps_ = false;
  std::uint64_t policy_seen_ = 0;               // ExportPolicy::generation()
  std::vector<HandedOut::Name> doubtful_;       // names of which the guest may believe what it was told before
  std::unordered_map<std::uint64_t, Profile> recorded_;  // by job
  std::unordered_set<std::uint64_t> sent_;           // nodes whose content was sent, and is still true
  std::unordered_set<std::uint64_t> listed_;         // directories of which the guest may believe that it knows all names
  std::unordered_set<std::uint64_t> unheard_;        // that somebody linked while no job ran
  std::unordered_set<std::uint64_t> written_;  // nodes that it has changed itself since the last news
  std::unordered_map<std::uint64_t, std::uint64_t> sizes_;  // that its kernel goes by, of those that it has written
  std::unordered_map<std::uint64_t, std::int64_t> stamps_;  // ctimes behind its last write of a file's content; none: it has changed more since
  std::unordered_map<std::uint64_t, unsigned> changing_;  // how many of its changes a thread is at
  ChangesUnderWay under_way_;
  std::unordered_map<std::uint64_t, std::int64_t> began_;  // the jobs that run: ns since the epoch
  struct Names {
    std::int64_t mtime = 0;                           // of the directory behind our last change of a name; 0: none yet
    std::chrono::steady_clock::time_point others{};  // when somebody else was seen to have changed one
  };
  std::unordered_map<std::uint64_t, Names> names_;  // by directory
  std::vector<std::uint64_t> roots_;                      // of the exported file systems
  std::chrono::steady_clock::time_point said_stale_{};    // when an open was last answered with ESTALE
  std::chrono::steady_clock::time_point said_gone_{};     // when looks_again() last said so, of any directory
  bool announced_ = false;                                // the mounts, as the table is now
  bool mounted_ = false;  // something was, or unmounted, since all that the guest believes was looked at
  std::uint64_t bytes_read_ = 0, bytes_written_ = 0, changes_ = 0;
};

}  // namespace ssi
