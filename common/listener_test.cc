// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/listener.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace ssi {
namespace {

// The sanitizers look at an object's type through a pipe, and take one that they cannot look at for wrong.
#ifdef __has_feature
constexpr bool is_sanitized = __has_feature(address_sanitizer);
#else
constexpr bool is_sanitized = false;
#endif

struct Lowered {
  Lowered() {
    ::getrlimit(RLIMIT_NOFILE, &before);
    const Fd lowest(::open("/", O_PATH | O_CLOEXEC));
    const rlimit now{static_cast<rlim_t>(lowest.get()), before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &now);
  }
  ~Lowered() { ::setrlimit(RLIMIT_NOFILE, &before); }
  rlimit before{};
};

TEST_CASE("without a descriptor a connection is closed, not left waiting" * doctest::skip(is_sanitized)) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  const std::string name = "ssi-listener-test-" + std::to_string(::getpid());
  name.copy(at.sun_path + 1, sizeof at.sun_path - 1);  // an abstract name
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(::listen(socket.get(), 8) == 0);
  Listener listener(std::move(socket));
  const auto caller = [&] {
    Fd one(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(one.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    return one;
  };
  const Fd first = caller(), second = caller(), third = caller();
  {
    const Lowered lowered;
    CHECK_FALSE(listener.accept());
    char byte;
    CHECK(::recv(third.get(), &byte, 1, MSG_DONTWAIT) == 0);
    CHECK_FALSE(descriptors_left(1));
    CHECK_FALSE(listener.accept());  // nobody is there: no reason to turn in a loop
  }
  CHECK(descriptors_left(3));
  const Fd fourth = caller();
  CHECK(listener.accept());
}

}  // namespace
}  // namespace ssi
