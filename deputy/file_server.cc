// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_server.h"

#include <array>
#include <cerrno>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/log.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// How often is looked whether a busy file is free, and how many times before it is ETXTBSY.
constexpr std::uint64_t busy_again_ms = 5;
constexpr int busy_tries = 100;

}  // namespace

// Which `serve` a frame goes to, by its kind.
struct FileService::Table {
  using Call = void (*)(FileService&, const Session::Incoming&);
  std::array<Call, std::variant_size_v<wire::Frame>> calls{};

  template <class M>
  static void reply(FileService& service, Id id, const M& message, std::string_view body) {
    if constexpr (requires { service.serve(id, message, body); })
      service.serve(id, message, body);
    else
      service.answer(id, service.serve(message));
  }

  // A close(2), or the end of a process, has returned before its guest's kernel tells of it.
  template <class M>
  static void reply_when_free(FileService& service, Id id, const M& message, int tries = busy_tries) {
    if (!service.is_busy(message)) return reply(service, id, message, {});
    if (tries == 0) return service.session_.fail(id, ETXTBSY);
    service.busy_.push_back(service.later(
        [id, message, tries](FileService& self) { reply_when_free(self, id, message, tries - 1); }));
    if (service.busy_.size() > 1) return;
    service.when_free_.once(busy_again_ms, service.later([](FileService& self) {
      for (const auto& next : std::exchange(self.busy_, {})) next();
    }));
  }

  // What a guest's job was told to be done before we had done it comes in its order. Whether it must find what came before it made; none:
  // it needs no order.
  template <class M>
  static std::optional<bool> order_of(const M& m) {
    if constexpr (requires { m.as; }) return m.as != 0 ? std::optional(true) : std::nullopt;
    if constexpr (std::is_same_v<M, wire::Unlink> || std::is_same_v<M, wire::Setattr>) return true;
    if constexpr (std::is_same_v<M, wire::Write> || std::is_same_v<M, wire::Release>) return false;
    return {};
  }

  // A directory that it is about, of those that another guest's job may make names in without asking. None: null.
  template <class M>
  static const Node* anothers(FileService& service, const M& m) {
    auto& own = service.effects_.own_directories();
    if (own.size() == 0) return nullptr;
    const auto look = [&](std::uint64_t number) -> const Node* {
      const Node* node = service.nodes_.find(number);
      return node && own.is_anothers(node->id, &service) ? node : nullptr;
    };
    const Node* found = nullptr;
    // What was acknowledged to a job is not held up: what comes behind it speaks of it.
    if constexpr (requires { m.as; })
      if (m.as != 0) return nullptr;
    if constexpr (requires { m.node; }) found = look(m.node);
    if constexpr (requires { m.parent; })
      if (!found) found = look(m.parent);
    if constexpr (requires { m.new_parent; })
      if (!found) found = look(m.new_parent);
    return found;
  }

  template <class M>
  static void take_in_order(FileService& service, Id id, const M& message, std::string_view body) {
    if constexpr (requires { typename M::Reply; })
      if (const Node* directory = anothers(service, message)) {
        service.names_[directory->number].others = std::chrono::steady_clock::now();
        return service.effects_.own_directories().take_back(
            directory->id, service.later([id, message, body = std::string(body)](FileService& self) {
              take_in_order(self, id, message, body);
            }));
      }
    auto& changes = service.under_way_;
    const auto order = order_of(message);
    if (!order || (*order ? changes.none() : !changes.anything_waits())) return take(service, id, message, body);
    auto f = service.later([id, message, body = std::string(body)](FileService& self) { take(self, id, message, body); });
    *order ? changes.when_done(std::move(f)) : changes.in_turn(std::move(f));
  }

  template <class M>
  static void take(FileService& service, Id id, const M& message, std::string_view body) {
    constexpr bool request = requires {
      typename M::Reply;
    };
    if constexpr (!request)
      service.serve(message);
    else if constexpr (requires { service.is_busy(message); })
      reply_when_free(service, id, message);
    else
      reply(service, id, message, body);
  }

  template <class M>
  static void call(FileService& service, const Session::Incoming& frame) {
    const auto message = wire::unpack<M>(frame.meta);
    constexpr bool request = requires {
      typename M::Reply;
    };
    if (!message) {
      log::warning("malformed file request of kind {}", frame.kind);
      if (request) service.session_.fail(frame.id, EPROTO);
    } else {
      take_in_order(service, frame.id, *message, frame.body);
    }
  }

  template <class... M>
  static Table of() {
    Table table;
    ((table.calls[wire::kind_of<M>()] = &call<M>), ...);
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
                wire::Flock, wire::CancelLock, wire::Adopt, wire::Opened, wire::Visited, wire::List, wire::Found>();
  if (frame.kind >= table.calls.size() || !table.calls[frame.kind]) return false;
  table.calls[frame.kind](*this, frame);
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
void FileServer::when_changed(std::function<void()> f) {
  service_->changes_under_way().when_done(std::move(f));
}
bool FileServer::is_changing() const {
  return !service_->changes_under_way().none();
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
void FileServer::begin(std::uint64_t job) {
  service_->begin(job);
}
Profile FileServer::recorded(std::uint64_t job) {
  return service_->recorded(job);
}
bool FileServer::knows(const std::string& path) const {
  return service_->knows(path);
}
void FileServer::foresee(const Profile& profile) {
  service_->foresee(profile);
}
std::vector<wire::Lent> FileServer::lend(std::uint64_t job, const std::string& program, const wire::Caller& caller) {
  return service_->lend(job, program, caller);
}
void FileServer::started(std::uint64_t job) {
  service_->started(job);
}
void FileServer::job_over(std::uint64_t job) {
  service_->job_over(job);
}
void FileServer::idle() {
  service_->idle();
}

}  // namespace ssi
