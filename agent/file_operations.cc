// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "agent/inside.h"
#include "agent/operations.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

// One CopyRange: the caller asks again for the rest, and can be killed in between.
constexpr std::size_t max_copy = 64 << 20;

// The kernel's own mark of an open for execve(2) (__FMODE_EXEC), which open(2) does not have.
constexpr int kernel_exec = 040;

std::int64_t now() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What the kernel is told of a file that was opened with these flags.
fuse_file_info opening(Superblock& superblock, const fuse_file_info& info) {
  auto opened = info;
  const bool writable = (info.flags & O_ACCMODE) != O_RDONLY;
  opened.fh = superblock.home().new_handle(writable);
  opened.direct_io = (info.flags & inside::adopts) == inside::adopts;
  return opened;
}

void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  const auto node = superblock.node(ino);
  const auto opened = opening(superblock, *info);
  superblock.ask(request, wire::Open{node, opened.fh, info->flags & ~kernel_exec, request->caller()},
                 [&superblock, request, node, opened](const wire::Attr& attr, std::string_view) {
                   auto reply = opened;
                   reply.keep_cache = superblock.contents().keep(node, attr, now()) && !attr.brief;
                   if (!request->answer(fuse_reply_open, &reply)) superblock.home().release(opened.fh);
                 });
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, parent, name, EISDIR);
  if (!request) return;
  const auto opened = opening(superblock, *info);
  const bool nameless = (info->flags & O_TMPFILE) == O_TMPFILE;  // the kernel calls it "/"
  const wire::Name at{superblock.node(parent), nameless ? "" : name};
  superblock.ask(request, wire::Create{at.parent, at.name, mode, info->flags, opened.fh, request->caller()},
                 [&superblock, request, at, opened](const wire::Entry& entry, std::string_view) {
                   superblock.hold(entry);
                   const auto param = superblock.describe(at, entry, request->asked());
                   const bool taken = request->answer(fuse_reply_create, &param, &opened);
                   superblock.settle(param.ino, taken);
                   if (!taken) superblock.home().release(opened.fh);
                 });
}

// The kernel asks for at most max_body bytes: that is what max_write and max_read say.
void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.ask(request,
                 wire::Read{info->fh, static_cast<std::uint64_t>(offset),
                            static_cast<std::uint32_t>(std::min(size, wire::max_body))},
                 [request](const wire::None&, std::string_view bytes) {
                   request->answer(fuse_reply_buf, bytes.data(), bytes.size());
                 });
}

void write(fuse_req_t req, fuse_ino_t ino, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.contents().forget(superblock.node(ino));
  superblock.ask(request, wire::Write{info->fh, static_cast<std::uint64_t>(offset)},
                 [request](const wire::Written& written, std::string_view) {
                   request->answer(fuse_reply_write, written.size);
                 },
                 {bytes, std::min(size, wire::max_body)});
}

void flush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto owner = superblock.has_locks(ino) ? info->lock_owner : 0;
  if (!HomeLink::is_writable(info->fh) && owner == 0) {  // nothing that close(2) could report or undo
    fuse_reply_err(req, 0);
    return;
  }
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.ask(request, wire::Flush{info->fh, owner},
                 [request](const wire::None&, std::string_view) { request->error(0); });
}

void release(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  Superblock::of(req).home().release(info->fh);
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
  superblock.ask(
      request,
      wire::Fallocate{info->fh, mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length)},
      [request](const wire::None&, std::string_view) { request->error(0); });
}

void lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.ask(request, wire::Seek{info->fh, offset, whence},
                 [request](const wire::Offset& found, std::string_view) {
                   request->answer(fuse_reply_lseek, found.offset);
                 });
}

void copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, fuse_file_info* from_info,
                     fuse_ino_t to, off_t to_offset, fuse_file_info* to_info, std::size_t length, int) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, from);
  if (!request) return;
  superblock.contents().forget(superblock.node(to));
  superblock.ask(request,
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
