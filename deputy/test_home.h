// SPDX-License-Identifier: LGPL-2.1-or-later
// For the tests of the file server: a home in a temporary directory, and a guest that asks for its files over
// two real sessions.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/identity.h"
#include "common/loop.h"
#include "common/session.h"
#include "deputy/file_server.h"

namespace ssi {

class TestHome {
 public:
  struct Options {
    ExportRules rules{};
    std::size_t descriptors = 0, watches = 0;
    std::string tmpfs{};  // mount options: the directory is a file system of its own (root only)
  };

  // Rules may say "HOME" for the directory.
  explicit TestHome(Options options);
  TestHome() : TestHome(Options{}) {}
  ~TestHome();

  // Asks and waits for the reply: its fields, or the errno.
  template <class M>
  Answer<typename M::Reply> ask(const M& request, std::string_view body = {}) {
    std::optional<Answer<typename M::Reply>> answer;
    guest_->call(request, body, [&](Result<typename M::Reply> reply, std::string_view bytes) {
      body_.assign(bytes);
      if (reply)
        answer = std::move(*reply);
      else
        answer = fails(reply.error().code.value());
      loop_.stop();
    });
    while (!answer) loop_.run();
    return std::move(*answer);
  }
  template <class M>
  int error(const M& request, std::string_view body = {}) {
    const auto answer = ask(request, body);
    return answer ? 0 : answer.error();
  }

  wire::Entry look(std::uint64_t parent, const std::string& name) {
    return ask(wire::Lookup{parent, name, me()}).value_or(wire::Entry{});
  }
  std::uint64_t open(std::uint64_t node, int flags) {  // a handle, or 0
    const auto handle = ++last_handle_;
    return ask(wire::Open{node, handle, flags, me()}) ? handle : 0;
  }
  std::string read(std::uint64_t handle, std::uint64_t offset, std::uint32_t size) {
    return ask(wire::Read{handle, offset, size}) ? body_ : "error";
  }
  template <class M>
  void tell(const M& message) {  // one-way, and waits until it was taken
    guest_->post(message);
    ask(wire::Statfs{root_});
  }

  static wire::Setattr setting(std::uint64_t node, std::uint32_t fields, wire::Caller caller = me()) {
    wire::Setattr set;
    set.node = node;
    set.fields = fields;
    set.caller = caller;
    return set;
  }
  static wire::Caller me() { return {.uid = ::geteuid(), .gid = ::getegid()}; }

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& content) const;
  std::string content(const std::string& name) const;
  std::uint64_t root() const { return root_; }  // node of the directory
  const std::string& body() const { return body_; }
  std::uint64_t next_handle() { return ++last_handle_; }
  Loop& loop() { return loop_; }
  Session& guest() { return *guest_; }
  FileServer& server() { return *server_; }
  void lose() { server_.reset(); }

  // What the guest was told to forget of its own accord, since the last call. Waits a little for it.
  wire::Invalidate told();
  // What it was told ahead, since the last call.
  wire::Foreseen foreseen() {
    ask(wire::Statfs{root_});
    return std::exchange(foreseen_, {});
  }
  Effects& effects() { return effects_; }
  ExportPolicy& policy() { return *policy_; }

 private:
  void hear(const Session::Incoming& frame);

  std::string path_;
  bool mounted_ = false;
  Loop loop_;
  Effects effects_{loop_, path_ + "-undo"};
  std::unique_ptr<ExportPolicy> policy_;
  Identity home_key_ = Identity::generate(), guest_key_ = Identity::generate();
  std::unique_ptr<Session> home_, guest_;
  std::unique_ptr<FileServer> server_;
  std::string body_;
  wire::Invalidate told_;
  wire::Foreseen foreseen_;
  std::uint64_t root_ = 0, last_handle_ = 0;
};

// Whether this test program may mount (in a mount namespace of its own).
bool can_mount();

}  // namespace ssi
