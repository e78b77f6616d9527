// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/own_directories.h"

#include <doctest/doctest.h>

#include <string>

using namespace ssi;

namespace {
const FileId one{1, 10, 0, 0}, other{1, 11, 0, 0};
const int a = 0, b = 0;
}  // namespace

TEST_CASE("who comes by another guest's directory waits until that has done what it was told") {
  OwnDirectories own;
  std::function<void()> done;
  int revoked = 0;
  std::string said;
  const auto revoke = [&](std::function<void()> when) {
    ++revoked;
    done = std::move(when);
  };
  CHECK(own.add(one, &a, 1, revoke));
  CHECK(own.add(one, &a, 1, revoke));
  CHECK_FALSE(own.add(one, &b, 2, revoke));
  CHECK_FALSE(own.is_anothers(one, &a));
  CHECK_FALSE(own.is_anothers(other, &b));
  CHECK(own.is_anothers(one, &b));
  own.take_back(one, [&] { said += '1'; });
  own.take_back(one, [&] { said += '2'; });
  CHECK(revoked == 1);
  CHECK(said.empty());
  CHECK(own.is_anothers(one, &b));
  CHECK_FALSE(own.add(one, &a, 1, revoke));  // not while it is taken back
  done();
  CHECK(said == "12");
  CHECK_FALSE(own.is_anothers(one, &b));
  own.take_back(one, [&] { said += '3'; });
  CHECK(said == "123");
}

TEST_CASE("it is its guest's for as long as one of the jobs runs that make things there") {
  OwnDirectories own;
  const auto revoke = [](const auto&) {};
  CHECK(own.add(one, &a, 1, revoke));
  CHECK(own.add(one, &a, 2, revoke));
  own.end(&a, 1);
  CHECK(own.is_anothers(one, &b));
  own.end(&a, 2);
  CHECK_FALSE(own.is_anothers(one, &b));
}

TEST_CASE("what is answered late does not end what has begun since") {
  OwnDirectories own;
  std::function<void()> done;
  CHECK(own.add(one, &a, 1, [&](std::function<void()> when) { done = std::move(when); }));
  own.take_back(one, [] {});
  own.end(&a, 1);
  CHECK(own.add(one, &b, 2, [](const auto&) {}));
  done();
  CHECK(own.is_anothers(one, &a));
  own.forget(&a, one);
  CHECK(own.is_anothers(one, &a));
  own.forget(&b, one);
  CHECK_FALSE(own.is_anothers(one, &a));
}

TEST_CASE("it is nobody's when its job has ended, or its guest is gone, and nobody waits any more") {
  OwnDirectories own;
  std::string said;
  CHECK(own.add(one, &a, 1, [](const auto&) {}));
  CHECK(own.add(other, &a, 2, [](const auto&) {}));
  own.take_back(one, [&] { said += '1'; });
  own.take_back(other, [&] { said += '2'; });
  own.end(&a, 1);
  CHECK(said == "1");
  own.forget(&b);
  CHECK(own.size() == 1);
  own.forget(&a);
  CHECK(said == "12");
  CHECK(own.size() == 0);
}
