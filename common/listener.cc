// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/listener.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "common/log.h"

namespace ssi {
namespace {

constexpr useconds_t busy_us = 10'000;

Fd a_descriptor() {
  return Fd(::open("/", O_PATH | O_CLOEXEC));
}

}  // namespace

Listener::Listener(Fd socket) : socket_(std::move(socket)), reserve_(a_descriptor()) {}

Fd Listener::accept() {
  if (!reserve_) reserve_ = a_descriptor();
  for (;;) {
    Fd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection || (errno != EMFILE && errno != ENFILE)) return connection;
    if (reserve_ && refuse()) continue;
    if (!reserve_) ::usleep(busy_us);  // else its caller would turn in a loop until another thread closes something
    return {};
  }
}

// accept(2) says EMFILE also when nobody is there.
bool Listener::refuse() {
  reserve_.reset();
  Fd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const bool closed = static_cast<bool>(connection);
  connection.reset();
  reserve_ = a_descriptor();
  if (closed && said_.is_due()) log::error("connections are closed: {}", no_descriptors());
  return closed;
}

namespace {

// How many there are, in one call: since Linux 6.2. Those beyond a limit that was lowered count too.
bool surely_left(std::size_t count) {
  struct stat open;
  return ::stat("/proc/self/fd", &open) == 0 && open.st_size > 0 &&
         static_cast<std::size_t>(open.st_size) + count <= descriptor_limit() && a_descriptor();
}

}  // namespace

bool descriptors_left(std::size_t count) {
  if (surely_left(count)) return true;
  std::vector<Fd> taken;
  while (taken.size() < count) {
    taken.push_back(taken.empty() ? a_descriptor() : taken.front().duplicate());
    if (!taken.back()) return false;
  }
  return true;
}

std::size_t descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

std::string no_descriptors() {
  return fmt::format("out of descriptors (RLIMIT_NOFILE is {})", descriptor_limit());
}

}  // namespace ssi
