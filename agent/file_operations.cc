// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "agent/attributes.h"
#include "agent/inside.h"
#include "agent/operations.h"
#include "agent/superblock.h"
#include "common/file_time.h"

namespace ssi {
namespace {

// One CopyRange: the caller asks again for the rest, and can be killed in between.
constexpr std::size_t max_copy = 64 << 20;

// The kernel's own mark of an open for execve(2) (__FMODE_EXEC), which open(2) does not have.
constexpr int kernel_exec = 040;

// What the kernel is told of a file that was opened with these flags.
fuse_file_info opening(Superblock& superblock, const fuse_file_info& info) {
  auto opened = info;
  const auto access = info.flags & O_ACCMODE;
  opened.fh = superblock.home().new_handle(access != O_RDONLY);
  // Where an append lands is home's to say. The guest's kernel would put it into its page cache where it believes the end
  // to be. (Who may read the file as well may map it, so it stays cached; every append makes the kernel ask again.)
  const bool only_appends = access == O_WRONLY && (info.flags & O_APPEND);
  opened.direct_io = only_appends || (info.flags & inside::adopts) == inside::adopts;
  return opened;
}

// It can be written from now on; see LateError.
void note_writer(Superblock& superblock, std::uint64_t node, const fuse_file_info& opened, pid_t task) {
  if (HomeLink::is_writable(opened.fh)) superblock.writers().opened(node, opened.fh, task);
}

void open_by_lease(Superblock& superblock, const RequestPtr& request, fuse_ino_t ino, const fuse_file_info& opened) {
  const auto node = superblock.node(ino);
  auto reply = opened;
  reply.keep_cache = superblock.contents().keep(node, *superblock.leases().attr(node), wall_clock());
  reply.noflush = reply.keep_cache && superblock.closes_in_silence(ino);
  superblock.home().opened({node, opened.fh, opened.flags, request->caller()});
  superblock.reads_ahead(opened.fh);
  if (!request->answer(fuse_reply_open, &reply)) superblock.gave_up(opened.fh);
}

void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  const auto node = superblock.node(ino);
  auto opened = opening(superblock, *info);
  const std::uint8_t runs = info->flags & kernel_exec ? 1 : 0;
  if (const auto lent = runs && superblock.opens_itself(node) ? superblock.home().take_lent(node, request->caller().job) : 0) {
    opened.fh = lent;
    superblock.will_run(*request, node, *superblock.leases().attr(node));
    return open_by_lease(superblock, request, ino, opened);
  }
  const bool only_reads = (info->flags & O_ACCMODE) == O_RDONLY && !(info->flags & O_TRUNC) && !runs && !opened.direct_io;
  if (only_reads && superblock.opens_itself(node)) return open_by_lease(superblock, request, ino, opened);
  const auto changed = info->flags & O_TRUNC ? Superblock::Nodes{node} : Superblock::Nodes{};
  superblock.change(request, changed, wire::Open{node, opened.fh, info->flags & ~kernel_exec, request->caller(), runs},
                 [&superblock, request, node, opened](const wire::Attr& attr, std::string_view) {
                   if (opened.flags & kernel_exec) superblock.will_run(*request, node, attr);
                   auto reply = opened;
                   reply.keep_cache = superblock.contents().keep(node, attr, wall_clock()) && !attr.brief;
                   const auto task = request->task();
                   if (!opened.direct_io) superblock.reads_ahead(opened.fh);
                   if (!request->answer(fuse_reply_open, &reply)) return superblock.gave_up(opened.fh);
                   note_writer(superblock, node, opened, task);
                   if (opened.flags & O_TRUNC) superblock.keep_emptied(node, attr, opened.fh, request->caller().job);
                 });
  // What is left of it is as good as made anew.
  if (opened.flags & O_TRUNC && HomeLink::is_writable(opened.fh)) superblock.look_for_room(node);
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, parent, name, EISDIR);
  if (!request) return;
  const auto opened = opening(superblock, *info);
  const bool nameless = (info->flags & O_TMPFILE) == O_TMPFILE;  // the kernel calls it "/"
  const wire::Name at{superblock.node(parent), nameless ? "" : name};
  const wire::Create message{at.parent, at.name, mode, info->flags, opened.fh, request->caller(), request->umask()};
  if (!nameless && superblock.create_ahead(request, message, opened)) return;
  superblock.change(
      request, {at.parent}, message,
      [&superblock, request, at, opened, of = message.caller](const wire::Made& made, std::string_view) {
        const auto entry = made.entry();
        superblock.hold(entry);
        superblock.changing({entry.node});  // if it was there before
        superblock.lease(at.parent, made, of);
        const auto param = superblock.describe(at, entry);
        const bool taken = request->answer(fuse_reply_create, &param, &opened);
        superblock.settle(param.ino, taken);
        if (!taken) return superblock.home().release(opened.fh);
        superblock.keep_made(entry.node, made, opened.fh, of.job);
        note_writer(superblock, param.ino, opened, request->task());
      });
}

// The kernel asks for at most max_body bytes: that is what max_write and max_read say.
void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.read(request, superblock.node(ino), info->fh, static_cast<std::uint64_t>(offset),
                  static_cast<std::uint32_t>(std::min(size, wire::max_body)));
}

// The kernel takes any answer but an error for all of it: what home had no room for is asked for again, and refused.
void write_back(Superblock& superblock, const RequestPtr& request, std::uint64_t node, wire::Write write,
                const std::shared_ptr<const std::string>& bytes, std::size_t done) {
  superblock.change_or(
      request, {node}, write,
      [&superblock, request, node, write, bytes, done](const wire::Written& written, std::string_view) {
        if (done + written.size >= bytes->size()) {
          request->answer(fuse_reply_write, bytes->size());
        } else if (written.size == 0) {
          superblock.late_error(node, EIO);
          request->error(EIO);
        } else {
          write_back(superblock, request, node, {write.handle, write.offset + written.size}, bytes,
                     done + written.size);
        }
      },
      [&superblock, node](int error) {
        superblock.late_error(node, error);
        return false;
      },
      std::string_view(*bytes).substr(done));
}

void write(fuse_req_t req, fuse_ino_t ino, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.contents().forget(superblock.node(ino));
  const std::string_view body(bytes, std::min(size, wire::max_body));
  const auto at = static_cast<std::uint64_t>(offset);
  // A page of a mapping has its place, whatever the flags of the description it goes through.
  if (info->writepage)
    return write_back(superblock, request, superblock.node(ino), {info->fh, at},
                      std::make_shared<const std::string>(body), 0);
  if (superblock.write_ahead(request, superblock.node(ino), *info, body, at)) return;
  superblock.change(
      request, {superblock.node(ino)}, wire::Write{info->fh, at, info->flags & O_APPEND ? std::uint8_t{1} : std::uint8_t{0}},
      [request](const wire::Written& written, std::string_view) {
        request->answer(fuse_reply_write, written.size);
      },
      body);
}

void flush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto owner = superblock.has_locks(ino) ? info->lock_owner : 0;
  if (!HomeLink::is_writable(info->fh) && owner == 0) {  // nothing that close(2) could report or undo
    fuse_reply_err(req, 0);
    return;
  }
  const auto request = superblock.begin(req, ino);
  if (!request || (owner == 0 && superblock.flush_ahead(request, superblock.node(ino), info->fh))) return;
  superblock.ask(request, wire::Flush{info->fh, owner},
                 [request](const wire::None&, std::string_view) { request->error(0); });
}

void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  superblock.release(superblock.node(ino), info->fh);
  fuse_reply_err(req, 0);
}

void fsync(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.ask(request, wire::Fsync{info->fh, static_cast<std::uint8_t>(data_only != 0)},
                 [request](const wire::None&, std::string_view) { request->error(0); });
}

void fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.contents().forget(superblock.node(ino));
  superblock.change(
      request, {superblock.node(ino)},
      wire::Fallocate{info->fh, mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length)},
      [request](const wire::None&, std::string_view) { request->error(0); });
}

// The kernel does not write back the pages of a mapping before it asks, and home would call them a hole.
void lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.written_back(ino, [&superblock, request, seek = wire::Seek{info->fh, offset, whence}] {
    superblock.ask(request, seek, [request](const wire::Offset& found, std::string_view) {
      request->answer(fuse_reply_lseek, found.offset);
    });
  });
}

void copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, fuse_file_info* from_info,
                     fuse_ino_t to, off_t to_offset, fuse_file_info* to_info, std::size_t length, int) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, from);
  if (!request) return;
  superblock.contents().forget(superblock.node(to));
  superblock.change(request, {superblock.node(to)},
                    wire::CopyRange{from_info->fh, static_cast<std::uint64_t>(from_offset), to_info->fh,
                                    static_cast<std::uint64_t>(to_offset),
                                    static_cast<std::uint32_t>(std::min(length, max_copy))},
                    [request](const wire::Written& written, std::string_view) {
                      request->answer(fuse_reply_write, written.size);
                    });
}

void ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void*, fuse_file_info* info, unsigned,
           const void* in, std::size_t in_size, std::size_t) {
  auto& superblock = Superblock::of(req);
  std::uint64_t token;
  if (command != inside::adopt || in_size != sizeof token) {
    fuse_reply_err(req, ENOTTY);
    return;
  }
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  std::memcpy(&token, in, sizeof token);
  superblock.ask(request, wire::Adopt{info->fh, token}, [request](const wire::None&, std::string_view) {
    request->answer(fuse_reply_ioctl, 0, nullptr, std::size_t{0});
  });
}

}  // namespace

void add_file_operations(fuse_lowlevel_ops& table) {
  table.open = open;
  table.create = create;
  table.read = read;
  table.write = write;
  table.flush = flush;
  table.release = release;
  table.fsync = fsync;
  table.fallocate = fallocate;
  table.lseek = lseek;
  table.copy_file_range = copy_file_range;
  table.ioctl = ioctl;
}

}  // namespace ssi
