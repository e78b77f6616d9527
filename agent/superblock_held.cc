// SPDX-License-Identifier: LGPL-2.1-or-later
// What a superblock holds back of the file that a job makes or writes now: small writes travel as one, and what is made and removed
// within that moment does not travel at all.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/superblock_ahead.h"

namespace ssi {

void Superblock::send_written(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::string_view bytes,
                              std::uint64_t offset) {
  auto* file = made_.find(node);
  if (file && file->error != 0) return request->error(std::exchange(file->error, 0));
  if (file) {
    file->attr.size = std::max(file->attr.size, offset + bytes.size());
    made_.wrote(*file, offset, bytes, uv_now(home_->loop().uv()));
  }
  const auto job = request->caller().job;
  if (held_.handle == handle && held_.job == job && joins_held(bytes, offset)) {
    changing({node});
  } else {
    hold({.node = node, .handle = handle, .job = job, .offset = offset, .bytes = std::string(bytes)});
    held_.write_number = begin_ahead({job, {node}}, bytes.size(), true);
  }
  if (held_.bytes.size() == wire::max_body) home_->send_held();
  request->answer(fuse_reply_write, bytes.size());
}

// Before the new one is begun: home does all in that order.
void Superblock::hold(Held what) {
  home_->hold_back([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->send_held();
  });
  held_ = std::move(what);
}

// The first write of what was just made, or within or right behind the held write. Not with a little in between, though it be known: somebody at home may write there meanwhile.
bool Superblock::joins_held(std::string_view bytes, std::uint64_t offset) {
  if (held_.write_number == 0) {
    held_.offset = offset;
    held_.write_number = begin_ahead({held_.job, {held_.node}}, 0, true);
  }
  const auto before = held_.bytes.size();
  if (offset < held_.offset || offset > held_.offset + before || offset + bytes.size() > held_.offset + wire::max_body) return false;
  const auto at = offset - held_.offset;
  held_.bytes.resize(std::max(held_.bytes.size(), at + bytes.size()));
  held_.bytes.replace(at, bytes.size(), bytes);
  home_->acknowledged().grow(held_.write_number, held_.bytes.size() - before);
  return true;
}

void Superblock::send_held() {
  const auto held = std::exchange(held_, {});
  if (!home_->session()) return;
  if (held.send_create) held.send_create();
  const auto refuse = [this, node = held.node, job = held.job](int error) { refuse_written(node, job, error); };
  if (held.write_number != 0)
    post_ahead(
        held.write_number, {held.node}, wire::Write{held.handle, held.offset, 0},
        [this, refuse, node = held.node, size = held.bytes.size()](const wire::Written& written) {
          if (auto* now = made_.find(node)) now->has_room = written.room != 0;
          if (written.size < size) refuse(written.error ? written.error : EIO);
        },
        refuse, held.bytes);
  if (held.is_released) home_->release(held.handle, Session::Lane::bulk);
}

// Whoever may have seen it, a process at home or another guest, has had it sent.
bool Superblock::take_back(const RequestPtr& request, const wire::Unlink& message) {
  const auto& create = held_.create;
  if (!held_.send_create || !held_.is_released || held_.job != message.caller.job) return false;
  if (create.parent != message.parent || create.name != message.name || home_->has_open(held_.node)) return false;
  const auto node = listings_.find(create.parent, create.name);
  auto* file = made_.find(held_.node);
  if (!node || *node != held_.node || !file || file->attr.nlink != 1 || !request->get()) return false;
  file->attr.nlink = 0;
  const auto held = std::exchange(held_, {});
  home_->forget_held();
  made_.add_inodes(held.create.caller, {held.create.inode});
  end_ahead(held.create_number, {held.node, held.create.parent});
  if (held.write_number != 0) end_ahead(held.write_number, {held.node});
  drop_held({held.node});  // see add_ahead()
  drop_held(listings_.add(message.parent, message.name, 0));
  touch(message.parent);
  taken_back_ = {message.parent, uv_now(home_->loop().uv())};
  request->error(0);
  home_->acknowledged().go_on();
  return true;
}

// A moment ago, as if home had yet to answer.
bool Superblock::was_taken_back_from(std::uint64_t directory) const {
  return taken_back_.directory == directory && uv_now(home_->loop().uv()) - taken_back_.at <= HomeLink::held_ms;
}

}  // namespace ssi
