// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/superblock.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "agent/attributes.h"
#include "agent/dying_task.h"
#include "agent/operations.h"
#include "agent/raw_fuse.h"
#include "agent/task_call.h"
#include "common/file_time.h"

namespace ssi {
namespace {

constexpr int requests_a_turn = 32;       // then the loop's other handles get their turn
// A task that asks for one thing after the other asks again so soon that the agent does not sleep meanwhile: on a virtual processor
// to be woken takes as long. (ffmpeg -version, warm: 0.84 of the time.)
// But home's answers, for other tasks, must not wait long.
constexpr std::uint64_t worth_waiting_ns = 40'000, longest_turn_ns = 300'000;
constexpr std::uint64_t patrol_ms = 100;  // how often an interrupted request's task is looked at

// A notice can overtake the answer before it, on the way from our write(2) to the task that waits for that: the kernel then
// believes what was to be forgotten. So what was answered in the last `given_ms` is told once more, `told_again_ms` later.
// Before Linux 6.2, of a name on the way to a mount: it cannot be told (see forget_cached()).
constexpr double untold_s = 1;

constexpr std::uint64_t given_ms = 100, told_again_ms = 1000;

// Not the writeback cache: it loses appends (301 of 600 measured). No
// splice: the bytes come from and go to TLS buffers.
constexpr unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
                            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS |
                            FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_EXPIRE_ONLY | FUSE_CAP_POSIX_LOCKS |
                            FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_DONT_MASK |
                            FUSE_CAP_CACHE_SYMLINKS;  // a link never changes: another target is another node

}  // namespace

Result<std::shared_ptr<Superblock>> Superblock::open(std::shared_ptr<HomeLink> home, const wire::Mount& mount, Fd fuse) {
  auto self = std::make_shared<Superblock>(std::move(home), mount);
  if (auto mounted = self->mount(std::move(fuse)); !mounted) return tl::make_unexpected(mounted.error());
  return self;
}

Superblock::Superblock(std::shared_ptr<HomeLink> home, const wire::Mount& mount)
    : home_(std::move(home)),
      fs_(mount.fs),
      root_(mount.root),
      identity_(mount.identity),
      path_(mount.path),
      patrol_(home_->loop()),
      refs_(mount.root),
      recalls_(home_),
      specials_(home_, recalls_),
      telling_again_(home_->loop()) {
  if (path_ == "/") stubs_.add_system(root_);
}

Superblock::~Superblock() {
  poll_.reset();
  for (const auto& node : refs_.clear()) home_->give_back(node);
  if (session_) fuse_session_destroy(session_);  // closes the descriptor
  std::free(buffer_.mem);
}

Status Superblock::mount(Fd fuse) {
  // Without it one turn of the loop could wait for the kernel's next request.
  const int flags = ::fcntl(fuse.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fuse.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return os_error("mounted /dev/fuse");
  // max_read must be said to the kernel at mount(2), here, and in init().
  std::string name = "ssi", option = "-omax_read=" + std::to_string(wire::max_body);
  std::array<char*, 3> argv{name.data(), option.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(2, argv.data());
  session_ = fuse_session_new(&args, &operations(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&args);
  if (!session_) return failure("libfuse does not make a session");
  fuse_custom_io io{};
  io.read = [](int fd, void* buffer, std::size_t size, void*) { return ::read(fd, buffer, size); };
  io.writev = write_reply;
  // It adopts the descriptor.
  if (fuse_session_custom_io(session_, &io, fuse.get()) != 0)
    return failure("libfuse does not take the mounted /dev/fuse");
  static_cast<void>(fuse.release());
  begin_to_serve();
  return {};
}

// The first reply is that to INIT. (Notices are written on other threads, but not before it.)
ssize_t Superblock::write_reply(int fd, iovec* parts, int count, void* self) {
  auto& superblock = *static_cast<Superblock*>(self);
  if (!superblock.is_greeted_) {
    superblock.is_greeted_ = true;
    ask_for_more(parts, count);
  }
  return ::writev(fd, parts, count);
}

// FUSE_POSIX_ACL has the guest's kernel judge (default_permissions), by modes and ACLs, and then home's as well: only so
// a name in its cache is no way past a directory that may not be searched. But a file system without ACLs may judge in
// ways of its own (sshfs, NFS 4, CIFS), and squashed ids say nothing: there home judges alone.
void Superblock::begin_to_serve() {
  if (!home_->session() || home_->squashed()) return serve();
  home_->call(wire::Getxattr{root_, "system.posix_acl_access"}, {},
              [weak = weak_from_this()](Result<wire::None> reply, std::string_view) {
                const auto self = weak.lock();
                if (!self) return;
                self->has_acls_ = reply || reply.error().code.value() == ENODATA;
                self->serve();
              });
}

void Superblock::serve() {
  poll_ = std::make_unique<Poll>(home_->loop(), fuse_session_fd(session_), [this](int) { on_requests(); });
  poll_->want(UV_READABLE);
}

void Superblock::init(void* self, fuse_conn_info* connection) {
  auto& superblock = *static_cast<Superblock*>(self);
  connection->want = (wanted | (superblock.has_acls_ ? FUSE_CAP_POSIX_ACL : 0)) & connection->capable;
  connection->max_write = connection->max_read = connection->max_readahead = wire::max_body;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  superblock.can_expire_ = connection->capable & FUSE_CAP_EXPIRE_ONLY;
}

void Superblock::on_requests() {
  static const bool there_is_another = std::thread::hardware_concurrency() > 1;  // on which the task runs
  const auto now = uv_hrtime();
  const bool in_haste = there_is_another && now - idle_since_ < worth_waiting_ns;
  const auto alive = shared_from_this();
  drain(in_haste ? now + longest_turn_ns : 0);
  idle_since_ = uv_hrtime();
}

int Superblock::receive(std::uint64_t awake_until) {
  int size = fuse_session_receive_buf(session_, &buffer_);
  if (size != -EAGAIN || awake_until == 0 || !waiting_.empty()) return size;  // what home is asked is sent by the loop
  const auto until = std::min(awake_until, uv_hrtime() + worth_waiting_ns);
  while (size == -EAGAIN && uv_hrtime() < until) size = fuse_session_receive_buf(session_, &buffer_);
  return size;
}

bool Superblock::drain(std::uint64_t awake_until) {
  const auto alive = shared_from_this();
  for (int count = 0; count < requests_a_turn; ++count) {
    const int size = receive(awake_until);
    if (size == -EINTR) continue;
    if (size == -EAGAIN) return false;
    if (size <= 0) {
      unmounted();
      return false;
    }
    read_tmpfile_as_create(buffer_.mem);
    fuse_session_process_buf(session_, &buffer_);
  }
  return true;
}

void Superblock::unmounted() {
  home_->send_held();
  poll_.reset();
  for (const auto& [handle, directory] : directories_) drop_untaken(*directory);
  drop_held(listings_.clear());
  for (const auto& node : refs_.clear()) home_->give_back(node);
}

void Superblock::lost() {
  const auto waiting = waiting_;  // answering takes them out
  for (auto* request : waiting) request->error(home_->error() ? home_->error() : EIO);
}

// Only a task that is about to die gets EINTR: a signal that it handles interrupts no stat(2) on a local file
// system, and programs that use many (a shell's SIGCHLD, Go's preemption by SIGURG) don't expect it. The
// kernel tells of the first signal only, so the task is looked at again until the answer comes.
void Superblock::interrupted(Request& request) {
  if (is_dying(request.task())) return request.error(EINTR);
  if (interrupted_.empty()) patrol_.every(patrol_ms, [this] { watch_dying(); });
  interrupted_.insert(&request);
}

void Superblock::watch_dying() {
  const auto alive = shared_from_this();
  const auto interrupted = interrupted_;
  for (auto* request : interrupted)
    if (is_dying(request->task())) request->error(EINTR);
  if (interrupted_.empty()) patrol_.stop();
}

// Whoever nobody waits for any more, or belongs to no job, sees that there is no such file, or may not.
void Superblock::met_hidden(const RequestPtr& request, const wire::Name& place, const char* why, int error) {
  auto path = refs_.path_of(place.parent);
  if (!place.name.empty()) path += "/" + place.name;
  path.insert(0, path_ == "/" ? "" : path_);
  if (path.empty()) path = "a file";
  recalls_.call_home(request, "needs " + path + ", " + why, error, Recalls::Left::leave);
}

void Superblock::will_run(const Request& request, std::uint64_t node, const wire::Attr& attr) const {
  const auto caller = request.caller();
  const bool user = attr.mode & S_ISUID && attr.uid != caller.uid;
  const bool group = attr.mode & S_ISGID && attr.mode & S_IXGRP && attr.gid != caller.gid;
  const auto& remark = home_->tasks().remark;
  if (!remark || (!user && !group)) return;
  const auto path = (path_ == "/" ? "" : path_) + refs_.path_of(node);
  remark(init_of(request.task()), std::string("the set-") + (user ? "user" : "group") + "-ID bit of " + path +
                                      " has no effect in a guest");
}

int Superblock::errno_of(const Error& error) {
  const int code = error.code.value();
  // The link is lost, or the deputy is not to be understood.
  if (code == ENOTCONN || code == EPROTO) return EIO;
  // The kernel would never ask for this operation again.
  if (code == ENOSYS) return EOPNOTSUPP;
  return code > 0 && code < 512 ? code : EIO;
}

RequestPtr Superblock::begin(fuse_req_t request, fuse_ino_t ino, int stub_error) {
  if (home_->session() && !Stubs::is_stub(ino)) return std::make_shared<Request>(shared_from_this(), request);
  fuse_reply_err(request, home_->session() ? stub_error : home_->error());
  return nullptr;
}

RequestPtr Superblock::begin(fuse_req_t request, fuse_ino_t parent, const char* name, int stub_error) {
  if (!stubs_.covers(node(parent), name)) return begin(request, parent);
  fuse_reply_err(request, stub_error);
  return nullptr;
}

void Superblock::give(const RequestPtr& request, fuse_ino_t parent, const char* name,
                      const wire::Entry& entry) {
  hold(entry);
  const auto param = describe({node(parent), name}, entry);
  settle(param.ino, request->answer(fuse_reply_entry, &param));
}

void Superblock::give_found(const RequestPtr& request, fuse_ino_t parent, const char* name,
                            const wire::Entry& entry) {
  if (!Specials::is(entry.attr.mode)) return give(request, parent, name, entry);
  hold(entry);
  specials_.met({request, entry.node, entry.attr.mode, refs_.name_of(node(parent)), name,
                 [weak = weak_from_this(), request, parent, entry, name = std::string(name)](bool goes_on) {
                   const auto self = weak.lock();
                   if (!self) return;
                   if (!goes_on) return self->settle(entry.node, false);
                   const auto param = self->describe({self->node(parent), name}, entry);
                   self->settle(param.ino, request->answer(fuse_reply_entry, &param));
                 }});
}

fuse_entry_param Superblock::describe(const wire::Name& name, const wire::Entry& entry, bool news) {
  // Another of home's file systems is mounted there, and in the guest on top of the stub. (A file that is a
  // mount point has no superblock of its own; it is served as one of ours.)
  if (entry.fs != fs_ && S_ISDIR(entry.attr.mode)) {
    drop_held({entry.node});
    return stub_param(stubs_.at(name, entry.attr));
  }
  refs_.place(entry.node, name);
  if (news) believe(entry.node, entry.attr);
  if (!entry.target.empty()) leases_.links_to(entry.node, entry.target);
  note_given(entry.node, name.parent);
  fuse_entry_param param{};
  param.ino = entry.node;
  param.attr = stat_of(entry.attr);
  param.attr_timeout = param.entry_timeout = lease_of(entry.attr);
  if (home_->acknowledged().has(entry.node)) param.attr_timeout = 0;  // home does not know all of it yet
  if (!can_expire_ && S_ISDIR(entry.attr.mode) && leads_to_mount(name)) param.entry_timeout = untold_s;
  if (Specials::is(entry.attr.mode)) param.entry_timeout = 0;  // so that we hear of each who comes by
  return param;
}

void Superblock::locked(const RequestPtr& request, fuse_ino_t ino, const wire::Locked& now) {
  const auto clock = wall_clock();
  if (!request->get()) return;  // its task is dying
  wire::Invalidate stale;
  if (!now.stale.nodes.empty() || !now.stale.names.empty()) stale = forget_cached(now.stale);
  leases_.forget(node(ino));
  if (!contents_.keep(node(ino), now.attr, clock) || now.attr.brief) stale.nodes.push_back(ino);
  // Behind all that home has said before.
  home_->when_told([self = shared_from_this(), request, stale = std::move(stale)] {
    if (stale.nodes.empty() && stale.names.empty()) return request->error(0);
    self->home_->loop().queue_work([self, stale] { self->tell_kernel(stale); },
                                   [request] { request->error(0); });
  });
}

struct stat Superblock::stat_of(const wire::Attr& attr) const {
  return to_stat(attr, home_->squashed());
}

void Superblock::settle(fuse_ino_t node, bool taken) {
  if (Stubs::is_stub(node)) {
    if (auto* stub = stubs_.find(node); stub && taken) ++stub->kernel;
  } else if (taken) {
    refs_.pass(node);
  } else {
    drop_held({node});
  }
}

fuse_entry_param Superblock::stub_param(const Stubs::Stub& stub) const {
  fuse_entry_param param{};
  param.ino = stub.node;
  param.attr = stat_of(stub.attr);
  param.attr_timeout = param.entry_timeout = for_ever;
  return param;
}

void Superblock::forget(fuse_ino_t node, std::uint64_t count) {
  if (node == FUSE_ROOT_ID) return;
  if (Stubs::is_stub(node)) return stubs_.forget(node, count);
  if (const auto all = refs_.forget(node, count)) forget_all_of(*all);
}

// Not on the loop: the kernel waits for our answers to its writes.
void Superblock::written_back(fuse_ino_t ino, std::function<void()> then) {
  if (writers_.of(node(ino)).empty()) return then();
  home_->loop().queue_work(
      [self = shared_from_this(), ino] { fuse_lowlevel_notify_inval_inode(self->session_, ino, 0, 0); },
      [weak = weak_from_this(), then = std::move(then)] {
        if (const auto self = weak.lock()) then();
      });
}

void Superblock::late_error(std::uint64_t node, int error) {
  if (const auto& tell = home_->tasks().late_error)
    tell(fs_, {writers_.of(node), refs_.path_of(node), error});
}

std::shared_ptr<DirHandle> Superblock::add_directory(std::uint64_t handle) {
  return directories_[handle] = std::make_shared<DirHandle>(handle);
}

std::shared_ptr<DirHandle> Superblock::directory(std::uint64_t handle) const {
  const auto found = directories_.find(handle);
  return found == directories_.end() ? nullptr : found->second;
}

void Superblock::remove_directory(std::uint64_t handle) {
  const auto gone = directories_.extract(handle);
  if (gone) drop_untaken(*gone.mapped());
}

void Superblock::fill(DirHandle& directory, std::uint64_t node, std::int64_t offset, bool plus, const wire::DirPage& page) {
  for (const auto& entry : page.entries)
    if (entry.entry.node != 0) hold(entry.entry);
  drop_untaken(directory);
  directory.fill(offset, plus, page);
  if (plus) note_order(node, offset == 0, page);
  // Released meanwhile: its task was killed while it waited.
  if (!directories_.contains(directory.handle())) drop_untaken(directory);
}

void Superblock::drop_untaken(DirHandle& directory) {
  drop_held(directory.untaken());
}

wire::Invalidate Superblock::forget_cached(const wire::Invalidate& changed) {
  for (const auto& name : changed.names)
    name.name.empty() ? listings_.set_incomplete(name.parent) : forget_name(name);
  // Pages of directories that the kernel has not read yet: their names may stay, as in any readdir(3), not
  // their nodes.
  for (const auto& [handle, directory] : directories_) drop_untaken(*directory);
  wire::Invalidate ours;
  for (const auto node : changed.nodes) {
    if (!refs_.knows(node)) continue;
    contents_.forget(node);
    leases_.forget(node);
    made_.revoke(node);  // somebody else was there
    end_made(node);
    ours.nodes.push_back(node == root_ ? FUSE_ROOT_ID : node);
  }
  for (const auto& name : changed.names) {
    if (name.name.empty() || !refs_.knows(name.parent) || stubs_.covers(name.parent, name.name)) continue;
    // Before Linux 6.2 names can't be expired, only dropped, with all that is mounted below them. Those wait
    // for their timeout.
    if (!can_expire_ && leads_to_mount(name)) continue;
    ours.names.push_back({name.parent == root_ ? FUSE_ROOT_ID : name.parent, name.name});
  }
  tell_again_soon(ours);
  return ours;
}

bool Superblock::leads_to_mount(const wire::Name& name) const {
  bool leads = false;
  stubs_.each([&](const Stubs::Stub& stub) { leads |= refs_.leads_to(name, stub.name.parent); });
  return leads;
}

void Superblock::note_given(std::uint64_t node, std::uint64_t parent) {
  const auto now = uv_now(home_->loop().uv());
  while (!given_.empty() && given_.front().when + given_ms < now) given_.pop_front();
  given_.push_back({now, node, parent});
}

void Superblock::tell_again_soon(const wire::Invalidate& told) {
  const auto now = uv_now(home_->loop().uv());
  std::unordered_set<std::uint64_t> nodes, parents;
  for (const auto& each : given_) {
    if (each.when + given_ms < now) continue;
    nodes.insert(each.node);
    parents.insert(each.parent);
  }
  for (const auto ino : told.nodes)
    if (nodes.contains(node(ino))) told_again_.nodes.push_back(ino);
  for (const auto& name : told.names)
    if (parents.contains(node(name.parent))) told_again_.names.push_back(name);
  if ((told_again_.nodes.empty() && told_again_.names.empty()) || std::exchange(tells_again_, true)) return;
  telling_again_.once(told_again_ms, [this] {
    tells_again_ = false;
    home_->loop().queue_work([self = shared_from_this(), again = std::exchange(told_again_, {})] { self->tell_kernel(again); },
                             [] {});
  });
}

void Superblock::tell_kernel(const wire::Invalidate& changed) const {
  // ENOENT: the kernel doesn't have it (any more). ENODEV, EBADF: it is unmounted. Neither needs doing
  // anything.
  for (const auto node : changed.nodes) fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
  for (const auto& [parent, name] : changed.names) {
    if (can_expire_)
      fuse_lowlevel_notify_expire_entry(session_, parent, name.data(), name.size(), FUSE_LL_EXPIRE_ONLY);
    else
      fuse_lowlevel_notify_inval_entry(session_, parent, name.data(), name.size());
  }
}

}  // namespace ssi
