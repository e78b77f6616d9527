// SPDX-License-Identifier: LGPL-2.1-or-later
// What a superblock acknowledges before home has done it: to files that jobs make here, and in directories where it may. Home does it
// in the same order; what it refuses then is a late error of the job.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "agent/attributes.h"
#include "agent/superblock_ahead.h"
#include "common/file_time.h"

namespace ssi {
namespace {

// On their way at any time: what a link of 1 Gbit/s and 20 ms takes, and far less than the room that home must have.
constexpr std::size_t most_bytes = 4 << 20;
constexpr std::size_t each = 512;  // bytes, besides its content, that a change counts

// Behind it file systems refuse what is written, each at a place of its own.
constexpr std::uint64_t farthest = 1ull << 40;

bool is_plain_name(const wire::Bytes& name) {
  return name.size() <= NAME_MAX && !name.starts_with(wire::kept_names);
}

}  // namespace

// What home's answers were about may have changed again since.
void Superblock::believe(std::uint64_t node, const wire::Attr& attr) {
  if (home_->acknowledged().has(node)) return leases_.forget(node);
  const auto* file = made_.find(node);
  if (file && file->content && file->content->size() != attr.size) made_.drop_content(node);  // somebody else has written there
  made_.told(node, attr);
  leases_.told(node, attr);
}

std::uint64_t Superblock::begin_ahead(const Ahead& what, std::size_t bytes, bool is_content) {
  changing(what.nodes);
  for (const auto node : what.nodes)
    if (node != root_) refs_.hold_again(node);  // it is not forgotten before home has heard of this
  return home_->acknowledged().begin({what.job, what.nodes, bytes + each, is_content});
}

// Home has answered, or will never hear of it.
void Superblock::end_ahead(std::uint64_t number, const Nodes& nodes) {
  home_->acknowledged().end(number);
  changing(nodes);
  for (const auto node : nodes)
    if (node != root_) drop_held({node});
}

// Who writes on or closes the file hears of it; else it is too late for that.
void Superblock::refuse_written(std::uint64_t node, std::uint64_t job, int error) {
  auto* file = made_.find(node);
  made_.drop_content(node);
  if (!file || file->handle == 0) return say_late(node, job, refs_.path_of(node), error);
  if (file->error == 0) file->error = error;
}

// What follows from it is not said as well.
void Superblock::say_late(std::uint64_t node, std::uint64_t job, const std::string& path, int error) {
  auto* file = made_.find(node);
  if (file && std::exchange(file->refused, true)) return;
  if (const auto& tell = home_->tasks().late_error) tell(fs_, {{}, path, error, job});
}

// ---------------------------------------------------------------------------------------------------- new names

// The guest's kernel has judged the caller's rights, and no more is on its way than may be.
bool Superblock::may_acknowledge() const {
  return home_->session() && has_acls_ && !home_->squashed() && home_->acknowledged().has_room(most_bytes);
}

// All may be made in a directory of the job's own, or for its temporary files.
bool Superblock::may_make(std::uint64_t directory, std::uint64_t job, wire::Makes needed) const {
  const auto makes = made_.makes(directory);
  if (makes >= needed) return true;
  return makes == wire::Makes::files &&
         home_->is_temporary(job, path_ == "/" ? refs_.path_of(directory) : path_ + refs_.path_of(directory));
}

// Home would not say anything else: nobody else can have made the name, or it does not matter who was first.
bool Superblock::may_make(const RequestPtr& request, const wire::Name& at, wire::Makes needed) {
  const auto job = request->caller().job;
  if (job == 0 || !may_acknowledge() || !may_make(at.parent, job, needed)) return false;
  if (!is_plain_name(at.name) || listings_.find(at.parent, at.name) != 0 || stubs_.covers(at.parent, at.name)) return false;
  return request->get() != nullptr;
}

// What a file is like that this task has just made in this directory, which passes nothing on (wire::Made::makes).
wire::Attr Superblock::new_attr(const Request& request, std::uint32_t mode) const {
  wire::Attr attr;
  attr.mode = mode;
  attr.nlink = 1;
  attr.uid = request.caller().uid;
  attr.gid = request.caller().gid;
  attr.atime = attr.mtime = attr.ctime = wall_clock();
  attr.acl = 0;
  return attr;
}

// Believed to be there, and kept until home has made it.
fuse_entry_param Superblock::add_ahead(const wire::Name& at, std::uint64_t node, const wire::Attr& attr) {
  refs_.hold(node);        // as home will count it; the kernel's
  refs_.hold_again(node);  // until home has answered
  refs_.hold_again(node);
  drop_held(listings_.add(at.parent, at.name, node));
  refs_.place(node, at);
  note_given(node, at.parent);
  fuse_entry_param param{};
  param.ino = node;
  param.attr = stat_of(attr);
  param.entry_timeout = for_ever;  // the attributes lack what only home knows
  return param;
}

void Superblock::made_at_home(const wire::Name& at, std::uint64_t node, const wire::Made& made) {
  believe(node, made.attr);
  if (made.parent.ino != 0) believe(at.parent, made.parent);
  drop_held({node});
}

void Superblock::not_made(const wire::Name& at, std::uint64_t node, std::uint64_t job, int error) {
  say_late(node, job, path_at(at), error);
  look_again_at(at);
  drop_held({node});
}

// Home says something else of the name than we did.
void Superblock::look_again_at(const wire::Name& at) {
  forget_name(at);
  const auto parent = at.parent == root_ ? FUSE_ROOT_ID : at.parent;
  home_->loop().queue_work([self = shared_from_this(), told = wire::Invalidate{{}, {{parent, at.name}}}] { self->tell_kernel(told); },
                           [] {});
}

// A name in it changes.
void Superblock::touch(std::uint64_t directory) {
  if (auto* attr = made_.directory(directory)) attr->mtime = attr->ctime = wall_clock();
}

// The kernel asks for a directory's rights after each change in it: they have not changed, and its times have by a moment.
bool Superblock::tell_directory(const RequestPtr& request, std::uint64_t node) {
  const bool changes = home_->acknowledged().has(node) || was_taken_back_from(node);
  const auto* attr = changes ? made_.directory(node) : nullptr;
  if (!attr) return false;
  const auto stat = stat_of(*attr);
  request->answer(fuse_reply_attr, &stat, 0.0);
  return true;
}

// What the kernel was told of the node.
void Superblock::expire(std::uint64_t node) {
  home_->loop().queue_work([self = shared_from_this(), told = wire::Invalidate{{node}, {}}] { self->tell_kernel(told); }, [] {});
}

// The kernel wants to know, before it reads from its cache or seeks, where the file ends; stat(2) asks without a handle.
bool Superblock::tell_size(const RequestPtr& request, std::uint64_t node) {
  const auto* file = made_.find(node);
  const auto* content = made_.content(node, uv_now(home_->loop().uv()));
  if (!content || !file->is_known || file->attr.size != content->size()) return false;
  const auto stat = stat_of(file->attr);
  request->answer(fuse_reply_attr, &stat, 0.0);
  return true;
}

std::string Superblock::path_at(const wire::Name& at) const {
  return refs_.path_of(at.parent) + "/" + at.name;
}

bool Superblock::create_ahead(const RequestPtr& request, wire::Create message, const fuse_file_info& opened) {
  const wire::Name at{message.parent, message.name};
  if (!may_make(request, at, message.flags & O_EXCL ? wire::Makes::all : wire::Makes::files)) return false;
  // Where an append ends is home's to say, and a reserved file cannot become one of the others.
  if (message.flags & (O_APPEND | O_SYNC | O_DSYNC | O_NOATIME)) return false;
  message.inode = made_.take_inode(message.caller);
  if (message.inode == 0) return false;  // home tells of more with its answer
  message.as = home_->new_node();
  auto attr = new_attr(*request, S_IFREG | (message.mode & 07777 & ~message.umask));
  attr.ino = message.inode;
  auto* file = made_.add(message.as, {attr, message.caller.job, opened.fh, true});
  if (!file) return false;
  made_.begin_content(*file, uv_now(home_->loop().uv()));
  const auto node = message.as;
  auto param = add_ahead(at, node, attr);
  param.attr_timeout = for_ever;
  touch(at.parent);
  hold_created(
      message, opened.fh,
      [this, at, node, inode = attr.ino, of = message.caller](const wire::Made& made) {
        auto* file = made_.find(node);
        if (file) file->has_room = made.room != 0;
        made_.add_inodes(of, made.inodes);
        // Of the time home's clock has the say, and of more if somebody else has made it.
        const bool is_as_made = file && file->attr.size == 0 && !home_->acknowledged().has(node);
        if (is_as_made || made.attr.ino != inode) expire(node);
        made_at_home(at, node, made);
      },
      [this, at, node, job = message.caller.job](int error) {
        made_.drop_content(node);
        if (auto* file = made_.find(node)) file->error = error;
        not_made(at, node, job, error);
      });
  const auto task = request->task();
  const bool taken = request->answer(fuse_reply_create, &param, &opened);
  settle(node, taken);
  if (!taken)
    release(node, opened.fh);
  else
    writers_.opened(node, opened.fh, task);
  return true;
}

bool Superblock::symlink_ahead(const RequestPtr& request, wire::Symlink message) {
  const wire::Name at{message.parent, message.name};
  if (message.target.empty() || message.target.size() >= PATH_MAX || !may_make(request, at, wire::Makes::all)) return false;
  message.as = home_->new_node();
  auto attr = new_attr(*request, S_IFLNK | 0777);
  attr.size = message.target.size();
  const auto node = message.as;
  if (!made_.add(node, {attr, message.caller.job})) return false;
  leases_.links_to(node, message.target);
  const auto param = add_ahead(at, node, attr);
  touch(at.parent);
  send_ahead(
      {message.caller.job, {node, at.parent}}, message, [this, at, node](const wire::Made& made) { made_at_home(at, node, made); },
      [this, at, node, job = message.caller.job](int error) { not_made(at, node, job, error); });
  settle(node, request->answer(fuse_reply_entry, &param));
  return true;
}

// Of what this guest's jobs have made, in a directory that they have made.
bool Superblock::unlink_ahead(const RequestPtr& request, const wire::Unlink& message) {
  const wire::Name at{message.parent, message.name};
  const bool may = may_acknowledge() && may_make(at.parent, message.caller.job, wire::Makes::all);
  if (!may || !listings_.is_complete(at.parent)) return false;
  const auto node = listings_.find(at.parent, at.name);
  auto* file = node && *node != 0 ? made_.find(*node) : nullptr;
  if (!file || file->attr.nlink != 1) return false;
  file->attr.nlink = 0;
  const auto is = *node;
  refs_.hold_again(is);  // until home has answered
  drop_held(listings_.add(at.parent, at.name, 0));
  touch(at.parent);
  send_ahead(
      {message.caller.job, {is, at.parent}}, message, [this, is](const wire::Renamed&) { drop_held({is}); },
      [this, is, at, job = message.caller.job](int error) {
        say_late(is, job, path_at(at), error);
        look_again_at(at);
        drop_held({is});
      });
  request->error(0);
  return true;
}

// --------------------------------------------------------------------------------------------- what is made of them

bool Superblock::write_ahead(const RequestPtr& request, std::uint64_t node, const fuse_file_info& info, std::string_view bytes,
                             std::uint64_t offset) {
  const auto* file = made_.find(node);
  if (!file || file->handle != info.fh || !file->has_room || info.flags & (O_APPEND | O_SYNC | O_DSYNC)) return false;
  if (offset + bytes.size() > farthest || !home_->session()) return false;
  if (home_->acknowledged().has_room(most_bytes)) {
    send_written(request, node, info.fh, bytes, offset);
    return true;
  }
  request->wait();
  home_->acknowledged().when_room(most_bytes, [weak = weak_from_this(), request, node, handle = info.fh, bytes = std::string(bytes),
                                               offset] {
    const auto self = weak.lock();
    if (!self || !request->get()) return;  // its task is dying
    if (!self->home_->session()) return request->error(self->home_->error());
    self->send_written(request, node, handle, bytes, offset);
  });
  return true;
}

// Of times home keeps its own.
bool Superblock::set_ahead(const RequestPtr& request, const wire::Setattr& message) {
  constexpr std::uint32_t times = wire::Setattr::set_atime | wire::Setattr::set_mtime | wire::Setattr::atime_now |
                                  wire::Setattr::mtime_now;
  constexpr std::uint32_t can = times | wire::Setattr::set_mode | wire::Setattr::set_uid | wire::Setattr::set_gid;
  auto* file = made_.find(message.node);
  if (!may_acknowledge() || !file || !file->is_known || file->attr.acl) return false;
  if (message.fields & ~can || message.mode & (S_ISUID | S_ISGID)) return false;
  auto& attr = file->attr;
  const auto now = wall_clock();
  if (message.fields & wire::Setattr::set_mode) attr.mode = (attr.mode & S_IFMT) | (message.mode & 07777);
  if (message.fields & wire::Setattr::set_uid) attr.uid = message.uid;
  if (message.fields & wire::Setattr::set_gid) attr.gid = message.gid;
  if (message.fields & wire::Setattr::set_atime) attr.atime = message.atime;
  if (message.fields & wire::Setattr::set_mtime) attr.mtime = message.mtime;
  if (message.fields & wire::Setattr::atime_now) attr.atime = now;
  if (message.fields & wire::Setattr::mtime_now) attr.mtime = now;
  attr.ctime = now;
  const auto stat = stat_of(attr);
  send_ahead(
      {message.caller.job, {message.node}}, message, [this, node = message.node](const wire::Attr& changed) { believe(node, changed); },
      [this, node = message.node, job = message.caller.job](int error) { say_late(node, job, refs_.path_of(node), error); });
  request->answer(fuse_reply_attr, &stat, 0.0);  // they lack what only home knows
  return true;
}

bool Superblock::flush_ahead(const RequestPtr& request, std::uint64_t node, std::uint64_t handle) {
  auto* file = made_.find(node);
  if (!file || file->handle != handle) return false;
  request->error(file->error);  // whoever closes it need not look
  return true;
}

void Superblock::release(std::uint64_t node, std::uint64_t handle) {
  reads_.erase(handle);
  auto* file = made_.find(node);
  const bool is_made = file && file->handle == handle;
  const bool comes_behind = is_made || !home_->acknowledged().none();
  if (held_.handle == handle && held_.send_create) {
    held_.is_released = true;
  } else {
    if (held_.handle == handle) home_->send_held();
    home_->release(handle, comes_behind ? Session::Lane::bulk : Session::Lane::small);
  }
  if (HomeLink::is_writable(handle)) writers_.released(node, handle);
  if (!is_made) return;
  file->handle = 0;
  if (file->error != 0) say_late(node, file->job, refs_.path_of(node), std::exchange(file->error, 0));
}

// ------------------------------------------------------------------------------------------------- whose it is

void Superblock::lease(std::uint64_t directory, const wire::Made& made, const wire::Caller& of) {
  made_.add_inodes(of, made.inodes);
  if (made.parent.ino == 0) return;
  const bool leased = made.makes == static_cast<std::uint8_t>(wire::Makes::files);
  if (leased && !MadeHere::passes_on(made.parent)) made_.lease(directory, wire::Makes::files, of.job);
  believe(directory, made.parent);
}

void Superblock::lease_new(const wire::Made& made, const wire::Caller& of) {
  made_.add_inodes(of, made.inodes);
  const bool leased = made.makes == static_cast<std::uint8_t>(wire::Makes::all);
  if (!leased || MadeHere::passes_on(made.attr) || made.attr.brief || of.job == 0) return;
  made_.lease(made.node, wire::Makes::all, of.job);
  believe(made.node, made.attr);
  listings_.set_complete(made.node);
}

void Superblock::keep_made(std::uint64_t node, const wire::Made& made, std::uint64_t handle, std::uint64_t job) {
  if (made.room == 0 || made.attr.brief || job == 0) return;
  auto* file = made_.add(node, {made.attr, job, handle, true});
  if (file && made.attr.size == 0) made_.begin_content(*file, uv_now(home_->loop().uv()));
}

void Superblock::keep_emptied(std::uint64_t node, const wire::Attr& attr, std::uint64_t handle, std::uint64_t job) {
  const auto* known = made_.find(node);
  if (job == 0 || attr.brief || !HomeLink::is_writable(handle) || (known && known->handle != 0)) return;
  auto* file = made_.add(node, {attr, job, handle, has_room_});
  if (file && attr.size == 0) made_.begin_content(*file, uv_now(home_->loop().uv()));
}

// For what is emptied now: home answers it behind that.
void Superblock::look_for_room(std::uint64_t node) {
  if (!home_->session()) return;
  home_->call(wire::Statfs{node}, {}, [weak = weak_from_this(), node](Result<wire::Space> space, std::string_view) {
    const auto self = weak.lock();
    if (!self) return;
    self->has_room_ = space && wire::has_room(*space);
    if (auto* file = self->made_.find(node)) file->has_room = self->has_room_;
  });
}

// Home is asked about it from now on.
void Superblock::end_made(std::uint64_t node) {
  const auto* file = made_.find(node);
  if (file && file->error != 0) say_late(node, file->job, refs_.path_of(node), file->error);
  made_.forget(node);
}

void Superblock::end_job(std::uint64_t job) {
  for (const auto& [node, file] : made_.end_files(job))
    if (!file.refused) say_late(node, file.job, refs_.path_of(node), file.error);
}

}  // namespace ssi
