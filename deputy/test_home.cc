// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/test_home.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

namespace ssi {
namespace {

// Before any thread: the mounts of these tests are seen by nobody else and end with the program.
const bool private_mounts = ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
                            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
const auto no_umask = ::umask(0);

std::string make_directory() {
  char path[] = "/tmp/ssi-files-XXXXXX";
  REQUIRE(::mkdtemp(path));
  ::chmod(path, 0755);
  ::mkdir((std::string(path) + "-undo").c_str(), 0700);
  return path;
}

void put_home(std::vector<std::string>& paths, const std::string& home) {
  for (auto& path : paths)
    if (path.starts_with("HOME")) path = home + path.substr(4);
}

}  // namespace

bool can_mount() {
  return private_mounts;
}

TestHome::TestHome(Options options) : path_(make_directory()) {
  if (!options.tmpfs.empty()) {
    mounted_ = ::mount("none", path_.c_str(), "tmpfs", 0, options.tmpfs.c_str()) == 0;
    REQUIRE(mounted_);
  }
  put_home(options.rules.hidden, path_);
  put_home(options.rules.read_only, path_);
  policy_ = std::make_unique<ExportPolicy>(ExportPolicy::exactly(std::move(options.rules)));

  int sockets[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) == 0);
  home_ = std::make_unique<Session>(loop_, Fd(sockets[0]), TlsStream::Side::home, home_key_,
                                    guest_key_.public_key(),
                                    Session::Events{{},
                                                    [this](const Session::Incoming& frame) {
                                                      if (server_) CHECK(server_->handle(frame));
                                                    },
                                                    [](const Error&) {}});
  guest_ = std::make_unique<Session>(
      loop_, Fd(sockets[1]), TlsStream::Side::guest, guest_key_, "",
      Session::Events{{}, [this](const Session::Incoming& frame) { hear(frame); }, [](const Error&) {}});
  server_ = std::make_unique<FileServer>(loop_, *home_, effects_, *policy_,
                                         FileServer::Limits{options.descriptors, options.watches});
  for (const auto& mount : server_->mounts().mounts)
    if (mount.path == "/") root_ = mount.root;
  REQUIRE(root_ != 0);
  for (const auto& part : std::filesystem::path(path_).relative_path()) {
    root_ = look(root_, part.string()).node;
    REQUIRE(root_ != 0);
  }
}

TestHome::~TestHome() {
  server_.reset();
  guest_.reset();
  home_.reset();
  if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  std::filesystem::remove_all(path_ + "-undo", ignored);
}

void TestHome::hear(const Session::Incoming& frame) {
  if (frame.kind == wire::kind_of<wire::Foreseen>()) {
    const auto more = wire::unpack<wire::Foreseen>(frame.meta);
    REQUIRE(more);
    foreseen_.names.insert(foreseen_.names.end(), more->names.begin(), more->names.end());
    foreseen_.ranges.insert(foreseen_.ranges.end(), more->ranges.begin(), more->ranges.end());
  }
  if (frame.kind != wire::kind_of<wire::Invalidate>()) return;
  const auto heard = wire::unpack<wire::Invalidate>(frame.meta);
  REQUIRE(heard);
  told_.nodes.insert(told_.nodes.end(), heard->nodes.begin(), heard->nodes.end());
  told_.names.insert(told_.names.end(), heard->names.begin(), heard->names.end());
}

wire::Invalidate TestHome::told() {
  Timer enough(loop_);
  ::uv_update_time(loop_.uv());
  enough.once(20, [this] { loop_.stop(); });
  loop_.run();
  ask(wire::Statfs{root_});  // whose answer comes behind it
  return std::exchange(told_, {});
}

void TestHome::write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name), std::ios::binary) << content;
}

std::string TestHome::content(const std::string& name) const {
  std::ostringstream text;
  text << std::ifstream(path(name), std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace ssi
