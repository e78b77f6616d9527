// SPDX-License-Identifier: LGPL-2.1-or-later
// What a superblock knows without asking home: whole directories, content that was fetched before it was read.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "agent/attributes.h"
#include "agent/superblock.h"
#include "common/compressed.h"
#include "common/file_time.h"

namespace ssi {
namespace {

constexpr std::size_t most_names = 8192;  // of a directory that is fetched whole

}  // namespace

// ------------------------------------------------------------------------------------------- whole directories

bool Superblock::find(const RequestPtr& request, fuse_ino_t parent, const char* name) {
  if (!has_acls_) return false;  // home judges who may search the directory
  const auto directory = node(parent);
  const auto known = listings_.find(directory, name);
  if (known) home_->found(request->caller().job, {directory, name});
  if (known == 0) {
    describe_none(parent);
    fuse_entry_param none{};
    none.entry_timeout = for_ever;
    request->answer(fuse_reply_entry, &none);
    return true;
  }
  const auto* attr = known ? leases_.attr(*known) : nullptr;
  if (attr) {
    refs_.hold_again(*known);
    const auto param = describe({directory, name}, {*known, fs_, *attr, {}}, false);
    settle(param.ino, request->answer(fuse_reply_entry, &param));
    return true;
  }
  if (listings_.asks(directory)) list({directory, listings_.begin(directory)}, 0, request->caller());
  return false;
}

void Superblock::looked_up(fuse_ino_t parent, const std::string& name, std::uint64_t found) {
  const auto known = listings_.find(node(parent), name);
  if (known && *known != found) forget_name({node(parent), name});
}

// One page after the other, as long as it is not too much.
void Superblock::list(const Listing& listing, std::int64_t offset, const wire::Caller& caller) {
  if (home_->acknowledged().has(listing.directory))
    return home_->acknowledged().when_done_with(listing.directory, [weak = weak_from_this(), listing, offset, caller] {
      const auto self = weak.lock();
      if (self && self->home_->session()) self->list_now(listing, offset, caller);
    });
  list_now(listing, offset, caller);
}

void Superblock::list_now(const Listing& listing, std::int64_t offset, const wire::Caller& caller) {
  home_->call<wire::List>(
      {listing.directory, offset, caller}, {},
      [weak = weak_from_this(), listing, offset, caller](Result<wire::DirPage> page, std::string_view) {
        const auto self = weak.lock();
        if (!self) return;
        if (!page || !self->listings_.is_fetching(listing.directory, listing.number)) {
          for (const auto& entry : page ? page->entries : std::vector<wire::DirEntry>())
            if (entry.entry.node != 0) self->home_->give_back(wire::Forgotten{entry.entry.node, 1});
          return;
        }
        self->learn(listing.directory, *page);
        self->note_order(listing.directory, offset == 0, *page);
        if (page->end) return self->listings_.set_complete(listing.directory);
        const auto names = listing.names + page->entries.size();
        if (page->entries.empty() || names >= most_names || !self->home_->session())
          return self->listings_.give_up(listing.directory);
        self->list({listing.directory, listing.number, names}, page->entries.back().next, caller);
      });
}

void Superblock::learn(std::uint64_t directory, const wire::DirPage& page) {
  for (const auto& each : page.entries)
    if (each.name != "." && each.name != "..") learn(directory, each.name, each.entry);
}

// What is mounted there, or told with no promise, or tells us of each who comes by, is home's to say each time.
void Superblock::learn(std::uint64_t directory, const std::string& name, const wire::Entry& entry) {
  if (entry.node == 0) return listings_.set_unknown(directory, name);
  hold(entry);
  if (entry.fs != fs_ || entry.attr.brief || Specials::is(entry.attr.mode) || stubs_.covers(directory, name)) {
    drop_held({entry.node});
    return listings_.set_unknown(directory, name);
  }
  believe(entry.node, entry.attr);
  if (!entry.target.empty()) leases_.links_to(entry.node, entry.target);
  drop_held(listings_.add(directory, name, entry.node));
}

void Superblock::note_order(std::uint64_t directory, bool from_start, const wire::DirPage& page) {
  std::vector<SmallFiles::Named> files;
  for (const auto& entry : page.entries)
    if (entry.entry.node != 0 && S_ISREG(entry.entry.attr.mode)) {
      // Before the kernel asks for it: it is read in this order.
      files.push_back({entry.name, entry.entry.node});
      refs_.place(entry.entry.node, {directory, entry.name});
    }
  small_files_.listed(directory, from_start, files);
}

void Superblock::forget_name(const wire::Name& name) {
  if (const auto node = listings_.forget(name.parent, name.name)) drop_held({*node});
}

void Superblock::drop_held(const std::vector<std::uint64_t>& nodes) {
  if (!poll_) return;  // unmounted: all is given back
  for (const auto node : nodes)
    if (const auto all = refs_.drop(node)) forget_all_of(*all);
}

// Neither the kernel nor we have it any more.
void Superblock::forget_all_of(const wire::Forgotten& node) {
  contents_.forget(node.node);
  leases_.gone(node.node);
  made_.forget(node.node);
  made_.revoke(node.node);
  small_files_.forget(node.node);
  if (foreseen_) foreseen_->forget(node.node);
  with_locks_.erase(node.node);
  specials_.forget(node.node);
  const auto names = listings_.forget(node.node);
  home_->give_back(node);
  drop_held(names);
}

// ----------------------------------------------------------------------------------------------------- content

// As what the content of a leased file is kept; a lease is home's word that it is in this state now.
std::optional<ContentStore::Key> Superblock::stored_as(std::uint64_t node) const {
  const auto* attr = home_->store() && identity_ != 0 ? leases_.attr(node) : nullptr;
  if (!attr || !S_ISREG(attr->mode)) return {};
  return ContentStore::Key{identity_, attr->ino, attr->size, attr->mtime, attr->ctime};
}

bool Superblock::is_stored(std::uint64_t node, std::uint64_t offset, std::uint64_t size) const {
  const auto key = stored_as(node);
  return key && home_->store()->has(*key, offset, size);
}

// Of nobody's request: several may wait for one answer, and nobody for what is read ahead.
ReadAhead::Fetch Superblock::fetcher(std::uint64_t node, std::uint64_t handle) {
  return [weak = weak_from_this(), node, handle](std::uint64_t offset, std::uint32_t size, ReadAhead::Done done) {
    const auto self = weak.lock();
    if (!self || !self->home_->session()) return done(EIO, {});
    self->leases_.read_at_home(node, wall_clock());
    self->home_->call<wire::Read>(
        {handle, offset, size, 1}, {}, [weak, node, offset, done = std::move(done)](Result<wire::Content> reply, std::string_view bytes) {
          const auto still = weak.lock();
          if (!still) return;
          if (reply && reply->atime != 0) still->leases_.was_read(node, reply->atime);
          std::optional<std::string> content;
          if (reply && reply->size != 0) {
            content = reply->size <= wire::max_body ? decompress(bytes, reply->size) : std::nullopt;
            if (!content) return done(EIO, {});
            bytes = *content;
          }
          if (const auto key = still->stored_as(node); reply && key && reply->ctime == key->ctime)
            still->home_->store()->put(*key, offset, bytes);
          if (reply) return done(0, bytes);
          const int code = reply.error().code.value();
          done(code == wire::hidden ? code : errno_of(reply.error()), {});
        });
  };
}

// Opened, read and closed in one go.
void Superblock::fetch_whole(std::uint64_t node, const wire::Caller& caller, std::uint64_t offset, std::uint32_t size,
                             ReadAhead::Done done) {
  const auto handle = home_->new_handle(false);
  home_->opened({node, handle, O_RDONLY, caller});
  fetcher(node, handle)(offset, size, std::move(done));
  home_->release(handle);
}

// As the one who reads the others would.
SmallFiles::Source Superblock::small_files_at_home(const wire::Caller& caller) {
  return {[this](std::uint64_t node) {
            const auto* attr = leases_.attr(node);
            return attr && S_ISREG(attr->mode) && !is_stored(node, 0, attr->size) ? SmallFiles::Leased{leases_.number(node), attr->size} : SmallFiles::Leased{};
          },
          [this, caller](std::uint64_t node, std::uint64_t size, SmallFiles::Done done) {
            fetch_whole(node, caller, 0, static_cast<std::uint32_t>(size), std::move(done));
          }};
}

void Superblock::read(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::uint64_t offset,
                      std::uint32_t size) {
  if (const auto* content = made_.content(node, uv_now(home_->loop().uv()))) {
    const auto bytes = std::string_view(*content).substr(std::min<std::uint64_t>(offset, content->size()), size);
    return static_cast<void>(request->answer(fuse_reply_buf, bytes.data(), bytes.size()));
  }
  request->wait();
  if (!request->get()) return;  // its task is dying
  if (home_->acknowledged().has(node))
    return home_->acknowledged().when_done_with(node, [weak = weak_from_this(), request, node, handle, offset, size] {
      if (const auto self = weak.lock()) self->read_now(request, node, handle, offset, size);
    });
  read_now(request, node, handle, offset, size);
}

void Superblock::read_now(const RequestPtr& request, std::uint64_t node, std::uint64_t handle, std::uint64_t offset,
                          std::uint32_t size) {
  if (!request->get()) return;
  ReadAhead::Done done = [this, request, node](int error, std::string_view bytes) {
    if (error == wire::hidden) return met_hidden(request, {node, {}}, why_hidden(wire::Read{}), EACCES);
    if (error) return request->error(error);
    request->answer(fuse_reply_buf, bytes.data(), bytes.size());
  };
  const auto reads = reads_.find(handle);
  if (reads == reads_.end()) {
    request->asks_home();
    return fetcher(node, handle)(offset, size, std::move(done));
  }
  const auto* lease = leases_.attr(node);
  const auto plain = [weak = weak_from_this(), fetch = fetcher(node, handle), offset, size, done](int error, std::string_view bytes) {
    if (const auto self = weak.lock()) error ? fetch(offset, size, done) : done(0, bytes);
  };
  if (foreseen_ && lease && opens_itself(node) && foreseen_->read(node, offset, size, plain)) return;
  if (lease && offset == 0 && size >= lease->size && lease->size <= SmallFiles::largest && opens_itself(node)) {
    if (small_files_.read(refs_.parent_of(node), node, small_files_at_home(request->caller()), plain)) return;
  }
  if (const auto key = stored_as(node); key && home_->store()->read(*key, offset, size, plain)) return;
  request->asks_home();
  const auto kept = reads->second;
  kept->read(offset, size, leases_.number(node), lease ? lease->size : 0, fetcher(node, handle), std::move(done));
}

// ---------------------------------------------------------------------------------- what a job is expected to ask for

bool Superblock::foresee(const wire::ForeseenName& name) {
  if (!refs_.knows(name.parent) || home_->acknowledged().has(name.parent)) return false;
  if (name.entry.node == 0)
    drop_held(listings_.add(name.parent, name.name, 0));
  else
    learn(name.parent, name.name, name.entry);
  return true;
}

bool Superblock::foresee(const wire::ForeseenRange& range) {
  if (!refs_.knows(range.node)) return false;
  if (!foreseen_)
    foreseen_ = std::make_shared<ForeseenContent>(ForeseenContent::Source{
        [this](std::uint64_t node) { return home_->session() ? leases_.number(node) : 0; },
        [this](std::uint64_t node, std::uint64_t offset, std::uint64_t size) { return is_stored(node, offset, size); },
        [this](std::uint64_t node, std::uint64_t offset, std::uint32_t size, ForeseenContent::Done done) {
          fetch_whole(node, home_->owner(), offset, size, std::move(done));
        }});
  foreseen_->expect(range.node, range.offset, range.size);
  return true;
}

}  // namespace ssi
