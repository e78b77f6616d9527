// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests that move bytes. Only what the page cache holds is read on the loop.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "common/compressed.h"
#include "common/file_time.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// Reads until `size` or the end of the file. The errno counts only when nothing was read before.
int read_fully(int fd, std::uint64_t offset, std::size_t done, std::string& bytes) {
  while (done < bytes.size()) {
    const auto got = ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && done == 0) return errno;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return 0;
}

// Goes on behind what is written already. With O_APPEND the kernel appends, whatever the offset.
int write_fully(int fd, std::uint64_t offset, std::string_view bytes, std::uint32_t& written) {
  while (written < bytes.size()) {
    const auto put =
        ::pwrite(fd, bytes.data() + written, bytes.size() - written, static_cast<off_t>(offset + written));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    written += static_cast<std::uint32_t>(put);
  }
  return 0;
}

// fcntl(2) can give a description O_APPEND or take it away; and a mapping's page has its place whatever the description
// has. One step of a file at a time, so nothing else writes meanwhile. 0, or an errno (an append-only file keeps it).
int set_append(OpenFile& file, bool appends) {
  if (file.appends == appends) return 0;
  const int flags = ::fcntl(file.fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(file.fd.get(), F_SETFL, appends ? flags | O_APPEND : flags & ~O_APPEND) != 0)
    return errno;
  file.appends = appends;
  return 0;
}

std::int64_t ctime_of(int fd) {
  struct statx status;
  return stat_of(fd, status) == 0 ? attr_of(status).ctime : 0;
}

std::uint64_t size_of(int fd) {
  struct stat status;
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

// What of a file's content an fallocate(2) takes away or moves.
UndoContent::Range loses(const wire::Fallocate& m) {
  if (m.mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) return {m.offset};
  if (m.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) return {m.offset, m.offset + m.length};
  return {0, 0};
}

// Who writes by a mapping moves the times once, and not again until the kernel has written the page back: after 35 s (its
// dirty_expire_centisecs, and the 5 s between two looks; who saves power makes that longer). Max: it may be never.
std::int64_t settled_after() {
  std::int64_t expire = 0, period = 0;
  std::ifstream("/proc/sys/vm/dirty_expire_centisecs") >> expire;
  std::ifstream("/proc/sys/vm/dirty_writeback_centisecs") >> period;
  if (expire <= 0 || period <= 0) return std::numeric_limits<std::int64_t>::max();
  return std::max<std::int64_t>(60'000'000'000, 2 * (expire + period) * 10'000'000);
}

// Reading has moved the time of access, perhaps: mostly the first time only.
wire::Content content_at(const OpenFile& file, std::uint64_t offset) {
  struct statx status;
  if (stat_of(file.fd.get(), status) != 0) return {};
  static const auto settled = settled_after();
  const auto attr = attr_of(status);
  return {0, offset == 0 ? attr.atime : 0, wall_clock() - attr.ctime > settled ? attr.ctime : 0};
}

bool at_end(int fd, std::uint64_t position) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
         position >= static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

void FileService::serve(Id id, const wire::Read& m, std::string_view) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return session_.fail(id, !file ? EBADF : file->error ? told(file->error) : EISDIR);
  if (m.size > wire::max_body) return session_.fail(id, EINVAL);
  contents_.insert(file->node);
  note_read(*file, m.offset, m.size);
  if (file->description) return read_description(id, m, file);
  auto bytes = std::make_shared<std::string>(m.size, '\0');
  iovec part{bytes->data(), bytes->size()};
  auto got = ::preadv2(file->fd.get(), &part, 1, static_cast<off_t>(m.offset), RWF_NOWAIT);
  if (got < 0 && errno != EAGAIN && errno != EOPNOTSUPP) return session_.fail(id, errno);
  const auto done = static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  if (done == m.size || (got >= 0 && at_end(file->fd.get(), m.offset + done))) {
    bytes_read_ += done;
    bytes->resize(done);
    return send_content(id, m, *file, std::move(*bytes));
  }
  auto error = std::make_shared<int>(0);
  loop_.queue_work([file, bytes, error, done,
                    offset = m.offset] { *error = read_fully(file->fd.get(), offset, done, *bytes); },
                   later([id, bytes, error, file, m](FileService& self) {
                     if (*error) return self.session_.fail(id, *error);
                     self.bytes_read_ += bytes->size();
                     self.send_content(id, m, *file, std::move(*bytes));
                   }));
}

// Compressed where the link is what it waits for.
void FileService::send_content(Id id, const wire::Read& m, const OpenFile& file, std::string bytes) {
  constexpr std::size_t worth_it = 16 << 10;
  auto content = content_at(file, m.offset);
  if (!m.may_compress || bytes.size() < worth_it || !session_.link_is_slow()) return session_.reply(id, content, bytes);
  content.size = static_cast<std::uint32_t>(bytes.size());
  auto body = std::make_shared<std::string>(std::move(bytes));
  auto smaller = std::make_shared<std::optional<std::string>>();
  loop_.queue_work([body, smaller] { *smaller = compress(*body); }, later([id, content, body, smaller](FileService& self) {
                     if (*smaller) return self.session_.reply(id, content, **smaller);
                     self.session_.reply(id, wire::Content{0, content.atime, content.ctime}, *body);
                   }));
}

void FileService::read_description(Id id, const wire::Read& m, std::shared_ptr<OpenFile> file) {
  auto bytes = std::make_shared<std::string>(m.size, '\0');
  auto error = std::make_shared<int>(0);
  OpenFile::in_order(
      file, loop_,
      [description = file->description, at = m.offset, bytes, error] {
        *error = description->read(at, *bytes);
      },
      later([id, bytes, error](FileService& self) {
        if (*error) return self.session_.fail(id, *error);
        self.bytes_read_ += bytes->size();
        self.session_.reply(id, wire::Content{}, *bytes);
      }));
}

void FileService::change_open_file(Id id, Change::Kind kind, std::uint64_t handle,
                                   std::function<UndoContent::Range()> range, std::function<int()> work,
                                   std::function<void(FileService&, int error)> done) {
  const auto file = handles_.find(handle);
  const Node* node = file ? nodes_.find(file->node) : nullptr;
  if (!node || !file->fd) return session_.fail(id, EBADF);
  file->written = true;
  // From now until its kernel has the reply, which it believes nothing behind.
  const auto note = [number = node->number, writes = kind == Change::Kind::write](FileService& self) {
    self.contents_.insert(number);
    auto size = self.sizes_.extract(number);
    auto stamp = self.stamps_.extract(number);
    self.changed_by_guest({self.nodes_.find(number)});
    if (writes) self.sizes_.insert(std::move(size));
    self.stamps_.insert(std::move(stamp));
  };
  if (kind == Change::Kind::write) will_write(*node, file->fd.get());
  note(*this);
  // Whose quota it is, and whose writing takes set-id bits away.
  const auto as_opener = [file, work = std::move(work)] {
    const ActAs as(file->rights);
    if (!as.done()) std::abort();  // it was done to open it
    return work();
  };
  const Change change{.kind = kind, .job = file->job, .node = node, .fd = file->fd.get()};
  const int error = apply(change, [&] {
    ++changing_[node->number];
    under_way_.begin();
    struct Outcome {
      int error = 0;
      std::int64_t before = 0, after = 0;  // ctimes
    };
    auto outcome = std::make_shared<Outcome>();
    OpenFile::in_order(
        file, loop_,
        [undo = content(change), fd = file->fd.get(), range = std::move(range), as_opener, outcome] {
          outcome->before = ctime_of(fd);
          outcome->error = undo.run(fd, range, as_opener);
          outcome->after = ctime_of(fd);
        },
        later([note, node = node->number, outcome, done = std::move(done)](FileService& self) {
          const bool is_last = --self.changing_[node] == 0;
          if (is_last) self.changing_.erase(node);
          note(self);
          auto& stamp = self.stamps_.try_emplace(node, outcome->before).first->second;
          const bool others_wrote = outcome->before > stamp;  // an earlier one is of another handle's write, at the same time
          stamp = std::max(stamp, outcome->after);
          if (others_wrote) self.tell({{node}, {}});  // what was heard of it is taken for this change
          done(self, outcome->error);
          self.change_made();
        }));
    return 0;
  });
  if (error) session_.fail(id, error);
}

void FileService::change_made() {
  loop_.defer(later([](FileService& self) { self.under_way_.end(); }));
}

void FileService::serve(Id id, const wire::Write& m, std::string_view bytes) {
  struct Job {
    std::shared_ptr<OpenFile> file;
    std::uint64_t offset;
    std::string bytes;
    bool appends;
    std::uint32_t written = 0;
  };
  auto job = std::make_shared<Job>(Job{handles_.find(m.handle), m.offset, std::string(bytes), m.append != 0});
  change_open_file(
      id, Change::Kind::write, m.handle,
      [job] {
        const auto& description = job->file->description;
        const auto at = description    ? description->place_of(job->offset)
                        : job->appends ? size_of(job->file->fd.get())
                                       : job->offset;
        return UndoContent::Range{at, at + job->bytes.size()};
      },
      [job] {
        if (const auto& description = job->file->description)
          return description->write(job->offset, job->bytes, job->written);
        if (const int error = set_append(*job->file, job->appends)) return error;
        return write_fully(job->file->fd.get(), job->offset, job->bytes, job->written);
      },
      [id, job](FileService& self, int error) {
        if (error && job->written == 0) return self.session_.fail(id, error);  // as write(2)
        self.bytes_written_ += job->written;
        if (const auto size = self.sizes_.find(job->file->node); size != self.sizes_.end())
          size->second = std::max(size->second, job->offset + job->written);
        self.session_.reply(id, wire::Written{job->written, room_at(job->file->fd.get()), error});
      });
}

// close(2) of a copy reports what home's file system reports there (NFS does). Nothing was written: nothing
// to say.
void FileService::serve(Id id, const wire::Flush& m, std::string_view) {
  const auto file = handles_.find(m.handle);
  if (!file) return session_.fail(id, EBADF);
  if (m.owner != 0) locks_->closed(file->node, m.owner);
  if (!file->written) return session_.reply(id, wire::None{});
  auto error = std::make_shared<int>(0);
  OpenFile::in_order(
      file, loop_,
      [file, error] {
        Fd copy = file->fd.duplicate();
        if (!copy || ::close(copy.release()) != 0) *error = errno;
      },
      later([id, error](FileService& self) { self.answer_errno(id, *error); }));
}

void FileService::serve(Id id, const wire::Fsync& m, std::string_view) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return session_.fail(id, EBADF);
  auto error = std::make_shared<int>(0);
  OpenFile::in_order(
      file, loop_,
      [file, error, data_only = m.data_only] {
        if ((data_only ? ::fdatasync(file->fd.get()) : ::fsync(file->fd.get())) != 0) *error = errno;
      },
      later([id, error](FileService& self) { self.answer_errno(id, *error); }));
}

void FileService::serve(Id id, const wire::Fallocate& m, std::string_view) {
  change_open_file(
      id, Change::Kind::fallocate, m.handle, [m] { return loses(m); },
      [m, file = handles_.find(m.handle)] {
        // Not posix_fallocate(3), which writes where the file system cannot.
        const int done =
            ::fallocate(file->fd.get(), m.mode, static_cast<off_t>(m.offset), static_cast<off_t>(m.length));
        return done == 0 ? 0 : errno;
      },
      [id](FileService& self, int error) { self.answer_errno(id, error); });
}

Answer<wire::Offset> FileService::serve(const wire::Seek& m) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return fails(EBADF);
  if (m.whence != SEEK_DATA && m.whence != SEEK_HOLE) return fails(EINVAL);
  const auto offset = ::lseek(file->fd.get(), m.offset, m.whence);  // reads and writes all name their offset
  if (offset < 0) return fails(errno);
  return wire::Offset{offset};
}

void FileService::serve(Id id, const wire::CopyRange& m, std::string_view) {
  struct Job {
    std::shared_ptr<OpenFile> from, to;
    std::uint32_t copied = 0;
  };
  auto job = std::make_shared<Job>(Job{find_open(m.from), handles_.find(m.to)});
  if (!job->from || !job->from->fd) return session_.fail(id, EBADF);
  change_open_file(
      id, Change::Kind::copy_range, m.to,
      [m, job] {
        const auto& description = job->to->description;
        const auto at = description ? description->place_of(m.to_offset) : m.to_offset;
        return UndoContent::Range{at, at + m.length};
      },
      [m, job] {
        auto from = static_cast<off64_t>(m.from_offset), to = static_cast<off64_t>(m.to_offset);
        if (const auto& description = job->to->description)
          return description->copy(job->from->fd.get(), from, m.to_offset, m.length, job->copied);
        const auto copied =
            ::copy_file_range(job->from->fd.get(), &from, job->to->fd.get(), &to, m.length, 0);
        if (copied < 0) return errno;
        job->copied = static_cast<std::uint32_t>(copied);
        return 0;
      },
      [id, job](FileService& self, int error) {
        if (error) return self.session_.fail(id, error);
        self.session_.reply(id, wire::Written{job->copied});
      });
}

}  // namespace ssi
