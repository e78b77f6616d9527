// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_server.h"

#include <array>

#include "common/log.h"
#include "deputy/file_service.h"

namespace ssi {

// Which `serve` a frame goes to, by its kind.
struct FileService::Table {
  using Take = void (*)(FileService&, const Session::Incoming&);
  std::array<Take, std::variant_size_v<wire::Frame>> take{};

  template <class M>
  static void call(FileService& service, const Session::Incoming& frame) {
    const auto message = wire::unpack<M>(frame.meta);
    constexpr bool request = requires {
      typename M::Reply;
    };
    if (!message) {
      log::warning("malformed file request of kind {}", frame.kind);
      if (request) service.session_.fail(frame.id, EPROTO);
    } else if constexpr (!request) {
      service.serve(*message);
    } else if constexpr (requires { service.serve(frame.id, *message, frame.body); }) {
      service.serve(frame.id, *message, frame.body);
    } else {
      service.answer(frame.id, service.serve(*message));
    }
  }

  template <class... M>
  static Table of() {
    Table table;
    ((table.take[wire::kind_of<M>()] = &call<M>), ...);
    return table;
  }
};

bool FileService::handle(const Session::Incoming& frame) {
  static const auto table =
      Table::of<wire::Lookup, wire::Forget, wire::Getattr, wire::Setattr, wire::Readlink, wire::Mknod,
                wire::Mkdir, wire::Symlink, wire::Link, wire::Unlink, wire::Rmdir, wire::Rename, wire::Open,
                wire::Create, wire::Read, wire::Write, wire::Flush, wire::Release, wire::Fsync, wire::Readdir,
                wire::Statfs, wire::Setxattr, wire::Getxattr, wire::Listxattr, wire::Removexattr,
                wire::Access, wire::Fallocate, wire::Seek, wire::CopyRange, wire::GetLock, wire::SetLock,
                wire::Flock, wire::CancelLock, wire::Adopt>();
  if (frame.kind >= table.take.size() || !table.take[frame.kind]) return false;
  table.take[frame.kind](*this, frame);
  return true;
}

FileServer::FileServer(Loop& loop, Session& session, Effects& effects, ExportPolicy& policy, Limits limits)
    : service_(std::make_shared<FileService>(loop, session, effects, policy, limits)) {}

FileServer::~FileServer() = default;

bool FileServer::handle(const Session::Incoming& frame) {
  return service_->handle(frame);
}
wire::Mounts FileServer::mounts() {
  return service_->mounts();
}
bool FileServer::mounts_changed() {
  return service_->mounts_changed();
}
wire::Invalidate FileServer::stale() {
  return service_->stale();
}
void FileServer::tell_stale() {
  service_->tell_stale();
}
void FileServer::tell_news() {
  service_->tell_news();
}
std::uint64_t FileServer::changes() const {
  return service_->changes();
}

std::uint64_t FileServer::bytes_read() const {
  return service_->bytes_read();
}
std::uint64_t FileServer::bytes_written() const {
  return service_->bytes_written();
}
void FileServer::offer(std::uint64_t token, const std::shared_ptr<Description>& description) {
  service_->offer(token, description);
}
void FileServer::idle() {
  service_->idle();
}

}  // namespace ssi
