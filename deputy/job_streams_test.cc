// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/job_streams.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "common/stream_sum.h"

using namespace ssi;

namespace {

// Streams of a job whose guest says nothing by itself.
struct Streams {
  Streams() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    peer.reset(ends[1]);
    session = std::make_unique<Session>(loop, Fd(ends[0]), TlsStream::Side::home, key, key.public_key(),
                                        Session::Events{[] {}, [](const Session::Incoming&) {}, [](const Error&) {}});
    streams = std::make_unique<JobStreams>(loop, *session, 1, [] {});
  }
  // The job's `number`; returns our end.
  Fd pipe(std::uint32_t number, wire::DescriptorKind kind) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const bool is_input = kind == wire::DescriptorKind::input;
    JobStreams::Kept kept;
    kept.descriptors.push_back({});
    kept.descriptors[0].number = number;
    kept.descriptors[0].fd.reset(ends[is_input ? 0 : 1]);
    wire::Descriptor described;
    described.fd = number;
    described.kind = static_cast<std::uint8_t>(kind);
    streams->connect(std::move(kept), {described});
    return Fd(ends[is_input ? 1 : 0]);
  }
  void run_for(std::uint64_t ms) {
    Timer limit(loop);
    limit.once(ms, [this] { loop.stop(); });
    loop.run();
  }

  Loop loop;
  Identity key = Identity::generate();
  Fd peer;
  std::unique_ptr<Session> session;
  std::unique_ptr<JobStreams> streams;
};

}  // namespace

TEST_CASE("a job's output is whole only when it is what its guest has recorded") {
  Streams job;
  const Fd read = job.pipe(1, wire::DescriptorKind::output);
  REQUIRE(job.streams->data(1, "text"));
  job.run_for(20);
  const auto recorded = [](std::string_view text) {
    StreamSum sum;
    sum.add(text);
    return std::vector<wire::StreamRecord>{{1, sum.bytes(), sum.digest()}};
  };
  CHECK(job.streams->is_as_recorded(recorded("text")));
  CHECK_FALSE(job.streams->is_as_recorded(recorded("text and more")));
  CHECK_FALSE(job.streams->is_as_recorded(recorded("t?xt")));
  CHECK_FALSE(job.streams->is_as_recorded(recorded("")));
}

TEST_CASE("a job is not run again that has read more of a pipe than can be kept") {
  Streams job;
  Fd write = job.pipe(0, wire::DescriptorKind::input);
  std::thread feeder([&] {
    const std::string bytes(1 << 20, 'x');
    for (int i = 0; i < 66; ++i)
      for (std::size_t at = 0; at < bytes.size();)
        at += static_cast<std::size_t>(std::max<ssize_t>(::write(write.get(), bytes.data() + at, bytes.size() - at), 0));
  });
  std::uint64_t passed = 0;
  std::string early = "not asked";
  Timer guest(job.loop);
  guest.every(1, [&] {
    const auto bytes = job.streams->bytes_in();
    job.streams->credit(0, static_cast<std::uint32_t>(bytes - std::exchange(passed, bytes)));
    job.streams->consumed(0, bytes);
    if (bytes > 50 << 20 && early == "not asked") early = job.streams->why_not_again();
    if (bytes == std::uint64_t{66} << 20) job.loop.stop();
  });
  job.run_for(30'000);
  feeder.join();
  CHECK(passed == std::uint64_t{66} << 20);
  CHECK(early == "");
  CHECK(job.streams->why_not_again() == "it has read more than can be kept of its input");
}

TEST_CASE("a job is not run again at whose terminal something was typed") {
  Streams job;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd user(ends[1]);
  JobStreams::Kept kept;
  kept.channel.reset(ends[0]);
  job.streams->connect(std::move(kept), {});
  job.run_for(20);
  CHECK(job.streams->why_not_again() == "");
  REQUIRE(::write(user.get(), "y", 1) == 1);
  job.run_for(50);
  CHECK(job.streams->why_not_again() == "something was typed at its terminal");
}
