// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/content_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include "common/file_time.h"
#include "common/log.h"

namespace ssi {
namespace {

constexpr std::uint64_t pages_up(std::uint64_t bytes) {
  return (bytes + ContentStore::page - 1) / ContentStore::page * ContentStore::page;
}

std::optional<ContentStore::Key> key_of(std::string_view name) {
  std::array<std::uint64_t, 5> numbers{};
  const char* at = name.data();
  const char* const end = at + name.size();
  for (auto& number : numbers) {
    const auto [next, error] = std::from_chars(at, end, number, 16);
    const bool is_last = &number == &numbers.back();
    if (error != std::errc{} || (is_last ? next != end : next == end || *next != '-')) return {};
    at = next + 1;
  }
  return ContentStore::Key{numbers[0], numbers[1], numbers[2], static_cast<std::int64_t>(numbers[3]),
                           static_cast<std::int64_t>(numbers[4])};
}

// What of the file is here, in pages. Only whole pages (the last one as far as it goes) are written, so that is what the kernel has as data.
Ranges parts_of(int fd) {
  Ranges here;
  for (off_t at = 0;;) {
    const auto data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0) return here;
    at = ::lseek(fd, data, SEEK_HOLE);
    if (at < 0) return here;
    here.add(static_cast<std::uint64_t>(data), pages_up(static_cast<std::uint64_t>(at)));
  }
}

int write_fully(int fd, std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0) return errno;
    offset += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return 0;
}

// Whether a hole here is one to the byte: with large blocks, or huge pages, zeros around what was written count as data.
bool tells_holes(int directory) {
  constexpr const char* name = "probe";
  const Fd file(::openat(directory, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  ::unlinkat(directory, name, 0);
  const std::string page(ContentStore::page, 'x');
  constexpr std::uint64_t here = 1 << 20, there = 4 << 20;
  if (!file || write_fully(file.get(), there, page) || write_fully(file.get(), here, page)) return false;
  const auto parts = parts_of(file.get());
  return parts.bytes() == 2 * page.size() && parts.has(here, here + page.size()) && parts.has(there, there + page.size());
}

}  // namespace

std::string ContentStore::name_of(const Key& key) {
  return fmt::format("{:x}-{:x}-{:x}-{:x}-{:x}", key.fs, key.ino, key.size, static_cast<std::uint64_t>(key.mtime),
                     static_cast<std::uint64_t>(key.ctime));
}

std::size_t ContentStore::KeyHash::operator()(const Key& key) const {
  std::size_t hash = 0;
  for (const auto part : {key.fs, key.ino, key.size, static_cast<std::uint64_t>(key.ctime)})
    hash = (hash ^ part) * 0x9e3779b97f4a7c15ULL;
  return hash;
}

std::shared_ptr<ContentStore> ContentStore::open(Loop& loop, Fd directory, std::uint64_t limit) {
  auto store = std::make_shared<ContentStore>(loop, std::move(directory), limit);
  store->load();
  return store;
}

ContentStore::ContentStore(Loop& loop, Fd directory, std::uint64_t limit)
    : loop_(loop), directory_(std::make_shared<const Fd>(std::move(directory))), limit_(limit) {
  struct statfs on;
  in_memory_ = ::fstatfs(directory_->get(), &on) == 0 && on.f_type == TMPFS_MAGIC;
}

// What is no file of ours, or of a size that it cannot have, is removed.
void ContentStore::load() {
  writing_ = true;
  auto found = std::make_shared<std::vector<Found>>();
  auto is_good = std::make_shared<bool>(false);
  loop_.queue_work(
      [directory = directory_, found, is_good] {
        *is_good = tells_holes(directory->get());
        if (!*is_good) return;
        const int fd = ::openat(directory->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR* const names = fd < 0 ? nullptr : ::fdopendir(fd);
        while (const auto* entry = names ? ::readdir(names) : nullptr) {
          const std::string name = entry->d_name;
          if (name == "." || name == "..") continue;
          const auto key = key_of(name);
          const Fd file(::openat(directory->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
          struct stat status;
          const bool is_file = key && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
          const auto size = is_file ? static_cast<std::uint64_t>(status.st_size) : 0;
          if (is_file && (size == key->size || (size < key->size && size % page == 0)))
            found->push_back({*key, parts_of(file.get()), to_ns(status.st_mtim.tv_sec, status.st_mtim.tv_nsec)});
          else
            ::unlinkat(directory->get(), name.c_str(), 0);
        }
        if (names) ::closedir(names);
        std::sort(found->begin(), found->end(), [](const Found& a, const Found& b) { return a.when < b.when; });
      },
      [weak = weak_from_this(), found, is_good] {
        const auto self = weak.lock();
        if (!self) return;
        if (!*is_good) {
          log::info("no content is kept: the cache's file system does not tell holes by the page, or is full");
          self->limit_ = 0;
        }
        for (auto& each : *found) {
          auto& file = self->kept(each.key);
          self->used_ += each.here.bytes();
          file.here = std::move(each.here);
        }
        self->writing_ = false;
        self->make_room();
        self->write_waiting();
      });
}

ContentStore::Kept& ContentStore::kept(const Key& key) {
  const auto [at, is_new] = files_.try_emplace(key);
  if (is_new) at->second.place = recent_.insert(recent_.begin(), key);
  return at->second;
}

bool ContentStore::has(const Key& key, std::uint64_t offset, std::uint64_t size) const {
  const auto found = files_.find(key);
  return found != files_.end() && offset < key.size && found->second.here.has(offset, std::min(offset + size, key.size));
}

bool ContentStore::read(const Key& key, std::uint64_t offset, std::uint32_t size, Done done) {
  if (!has(key, offset, size)) return false;
  const Fd fd(::openat(directory_->get(), name_of(key).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT && !writing_) drop(key);
    return false;
  }
  use(key, files_.at(key));
  std::string bytes(std::min<std::uint64_t>(size, key.size - offset), '\0');
  iovec part{bytes.data(), bytes.size()};
  const auto got = ::preadv2(fd.get(), &part, 1, static_cast<off_t>(offset), in_memory_ ? 0 : RWF_NOWAIT);
  if (got == static_cast<ssize_t>(bytes.size())) {
    done(0, bytes);
    return true;
  }
  struct Reading {
    Fd fd;
    std::string bytes;
    int error = 0;
  };
  auto reading = std::make_shared<Reading>(Reading{fd.duplicate(), std::move(bytes)});
  loop_.queue_work(
      [reading, offset] {
        const auto all = ::pread(reading->fd.get(), reading->bytes.data(), reading->bytes.size(), static_cast<off_t>(offset));
        reading->error = all < 0 ? errno : static_cast<std::size_t>(all) < reading->bytes.size() ? EIO : 0;
      },
      [weak = weak_from_this(), reading, key, done = std::move(done)] {
        const auto self = weak.lock();
        if (self && reading->error && !self->writing_) self->drop(key);
        done(reading->error, reading->bytes);
      });
  return true;
}

// Its time is set once a session: that is what a later one goes by.
void ContentStore::use(const Key& key, Kept& file) {
  recent_.splice(recent_.begin(), recent_, file.place);
  if (!std::exchange(file.used, true)) ::utimensat(directory_->get(), name_of(key).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

void ContentStore::put(const Key& key, std::uint64_t offset, std::string_view bytes) {
  auto end = offset + bytes.size();
  if (end != key.size) end -= end % page;
  const auto from = pages_up(offset);
  if (limit_ == 0 || from >= end || waiting_ + end - from > most_waiting || has(key, from, end - from)) return;
  if (const auto known = files_.find(key); known != files_.end() && known->second.here.bytes() >= limit_ / 2) return;
  to_write_.push_back({key, from, std::string(bytes.substr(from - offset, end - from))});
  waiting_ += end - from;
  if (!writing_) write_waiting();
}

void ContentStore::write_waiting() {
  if (to_write_.empty()) return;
  writing_ = true;
  auto pieces = std::make_shared<std::vector<Piece>>(std::exchange(to_write_, {}));
  loop_.queue_work(
      [directory = directory_, pieces] {
        Fd file;
        const Piece* last = nullptr;
        for (auto& piece : *pieces) {
          if (!last || last->key != piece.key)
            file.reset(::openat(directory->get(), name_of(piece.key).c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
          last = &piece;
          piece.error = file ? write_fully(file.get(), piece.offset, piece.bytes) : errno;
        }
      },
      [weak = weak_from_this(), pieces] {
        if (const auto self = weak.lock()) self->written(*pieces);
      });
}

void ContentStore::written(const std::vector<Piece>& pieces) {
  writing_ = false;
  bool is_full = false;
  std::vector<Key> failed;  // perhaps a part of a page was written: nothing of such a file is believed
  for (const auto& piece : pieces) {
    if (piece.error) failed.push_back(piece.key);
    is_full |= piece.error == ENOSPC || piece.error == EDQUOT;
  }
  for (const auto& key : failed) drop(key);
  for (const auto& piece : pieces) {
    waiting_ -= piece.bytes.size();
    if (std::find(failed.begin(), failed.end(), piece.key) != failed.end()) continue;
    auto& file = kept(piece.key);
    file.used = true;
    used_ += file.here.add(piece.offset, pages_up(piece.offset + piece.bytes.size()));
  }
  if (is_full) limit_ = std::min(limit_, used_ - used_ / 4);  // others need the room as well
  make_room();
  write_waiting();
}

void ContentStore::make_room() {
  while (used_ > limit_ && !recent_.empty()) drop(Key(recent_.back()));
}

void ContentStore::drop(const Key& key) {
  ::unlinkat(directory_->get(), name_of(key).c_str(), 0);
  const auto found = files_.find(key);
  if (found == files_.end()) return;
  used_ -= found->second.here.bytes();
  recent_.erase(found->second.place);
  files_.erase(found);
}

}  // namespace ssi
