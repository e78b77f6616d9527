// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cerrno>
#include <vector>

#include "agent/attributes.h"
#include "agent/operations.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  if (Stubs::is_stub(ino)) {
    fuse_reply_open(req, info);
    return;
  }
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  auto opened = *info;
  opened.fh = superblock.home().new_handle(false);
  if (superblock.opens_itself(superblock.node(ino))) {
    superblock.home().opened({superblock.node(ino), opened.fh, O_RDONLY | O_DIRECTORY, request->caller()});
    superblock.add_directory(opened.fh);
    if (request->answer(fuse_reply_open, &opened)) return;
    superblock.remove_directory(opened.fh);
    superblock.home().release(opened.fh);
    return;
  }
  superblock.ask(request,
                 wire::Open{superblock.node(ino), opened.fh, O_RDONLY | O_DIRECTORY, request->caller()},
                 [&superblock, request, opened](const wire::Attr&, std::string_view) {
                   superblock.add_directory(opened.fh);
                   if (request->answer(fuse_reply_open, &opened)) return;
                   superblock.remove_directory(opened.fh);
                   superblock.home().release(opened.fh);
                 });
}

void releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  superblock.remove_directory(info->fh);
  superblock.home().release(info->fh);
  fuse_reply_err(req, 0);
}

void fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino, 0);
  if (!request) return;
  superblock.ask(request, wire::Fsync{info->fh, static_cast<std::uint8_t>(data_only != 0)},
                 [request](const wire::None&, std::string_view) { request->error(0); });
}

// The kernel's buffer for one answer, filled from the page.
class Answer {
 public:
  Answer(Superblock& superblock, RequestPtr request, fuse_ino_t directory, std::size_t size, bool plus)
      : superblock_(superblock),
        request_(std::move(request)),
        directory_(directory),
        plus_(plus),
        bytes_(size) {}

  void give(DirHandle& page) {
    while (auto* entry = page.current()) {
      const auto size = plus_ ? add_plus(*entry) : add_name(*entry);
      if (size > left()) break;
      used_ += size;
      page.advance();
    }
    const bool taken = request_->answer(fuse_reply_buf, bytes_.data(), used_);
    for (const auto node : nodes_) superblock_.settle(node, taken);
  }

 private:
  char* end() { return bytes_.data() + used_; }
  std::size_t left() const { return bytes_.size() - used_; }

  // Both return the size that the entry needs, and add it if there is room.
  std::size_t add_name(const wire::DirEntry& entry) {
    struct stat attr {};
    attr.st_ino = entry.ino;
    attr.st_mode = entry.type;
    return fuse_add_direntry(request_->get(), end(), left(), entry.name.c_str(), &attr, entry.next);
  }

  std::size_t add_plus(wire::DirEntry& entry) {
    fuse_entry_param param{};
    const auto size = fuse_add_direntry_plus(request_->get(), nullptr, 0, entry.name.c_str(), &param, 0);
    if (size > left()) return size;
    if (auto* stub = superblock_.stubs().find(superblock_.node(directory_), entry.name)) {
      if (stub->attr.ino == 0) stub->attr.ino = entry.ino;
      param = superblock_.stub_param(*stub);
    } else if (entry.entry.node != 0) {
      param = superblock_.describe({superblock_.node(directory_), entry.name}, entry.entry);
      DirHandle::take(entry);
    }
    if (param.ino != 0) nodes_.push_back(param.ino);
    // The entry's number and type are taken from here. Without a node they are all that is known; at a mount
    // point the number is that of the directory below.
    if (param.ino == 0) param.attr.st_mode = entry.type;
    if (param.ino == 0 || Stubs::is_stub(param.ino)) param.attr.st_ino = entry.ino;
    return fuse_add_direntry_plus(request_->get(), end(), left(), entry.name.c_str(), &param, entry.next);
  }

  Superblock& superblock_;
  RequestPtr request_;
  fuse_ino_t directory_;
  bool plus_;
  std::vector<char> bytes_;
  std::size_t used_ = 0;
  std::vector<fuse_ino_t> nodes_;  // that the kernel gets to know by this answer
};

void read_directory(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                    const fuse_file_info* info, bool plus) {
  auto& superblock = Superblock::of(req);
  if (Stubs::is_stub(ino)) {
    fuse_reply_buf(req, nullptr, 0);
    return;
  }
  const auto request = superblock.begin(req, ino);
  const auto directory = superblock.directory(info->fh);
  if (!request || !directory) return;  // the latter answers EIO
  if (directory->ends_at(offset)) {
    request->answer(fuse_reply_buf, nullptr, std::size_t{0});
    return;
  }
  if (directory->seek(offset, plus)) return Answer(superblock, request, ino, size, plus).give(*directory);
  superblock.ask(request, wire::Readdir{info->fh, offset, plus},
                 [&superblock, request, directory, ino, size, offset, plus](const wire::DirPage& page,
                                                                            std::string_view) {
                   superblock.fill(*directory, superblock.node(ino), offset, plus, page);
                   if (request->get()) Answer(superblock, request, ino, size, plus).give(*directory);
                 });
}

void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  read_directory(req, ino, size, offset, info, false);
}

void readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  read_directory(req, ino, size, offset, info, true);
}

}  // namespace

void add_directory_operations(fuse_lowlevel_ops& table) {
  table.opendir = opendir;
  table.releasedir = releasedir;
  table.fsyncdir = fsyncdir;
  table.readdir = readdir;
  table.readdirplus = readdirplus;
}

}  // namespace ssi
