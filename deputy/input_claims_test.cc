// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/input_claims.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

// Only its address counts.
const Job& job(int number) {
  static char jobs[3];
  return reinterpret_cast<const Job&>(jobs[number]);
}

struct Pipe {
  Fd read, write;
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
};

bool claims(InputClaims& claims, int number, std::initializer_list<const Fd*> inputs) {
  std::vector<PassedFd> passed;
  std::vector<wire::Descriptor> described;
  for (const auto* fd : inputs) {
    passed.emplace_back().fd = fd->duplicate();
    described.emplace_back().kind = static_cast<std::uint8_t>(wire::DescriptorKind::input);
  }
  return claims.claim(job(number), passed, described);
}

}  // namespace

TEST_CASE("claims: one peeker a pipe, until it is released") {
  InputClaims all;
  const Pipe one, other;
  CHECK(claims(all, 0, {&one.read}));
  CHECK(claims(all, 1, {&other.read}));
  CHECK_FALSE(claims(all, 2, {&one.read}));
  all.release(job(0));
  CHECK(claims(all, 2, {&one.read}));
  CHECK_FALSE(claims(all, 0, {&other.read}));
}

TEST_CASE("claims: who is refused has claimed nothing") {
  InputClaims all;
  const Pipe one, other;
  CHECK(claims(all, 0, {&one.read}));
  CHECK_FALSE(claims(all, 1, {&other.read, &one.read}));
  CHECK(claims(all, 2, {&other.read}));
  CHECK_FALSE(claims(all, 1, {&one.read, &one.read}));
}

TEST_CASE("claims: an ended pipe is nobody's, as make gives all its jobs but one the same") {
  InputClaims all;
  Pipe ended;
  ended.write.reset();
  CHECK(claims(all, 0, {&ended.read}));
  CHECK(claims(all, 1, {&ended.read}));
}
