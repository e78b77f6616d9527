// SPDX-License-Identifier: LGPL-2.1-or-later
// A long cable: a TAP in each of two network namespaces, and frames carried between them with a fixed delay and a bit rate.
//   cable NAMESPACE_A NAMESPACE_B DEVICE ONE_WAY_US RATE_MBIT     NAMESPACE: a file such as /proc/PID/ns/net
// Says "ready" when both devices are there; ends with the process that started it. netem is not in every kernel.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr std::size_t queue_limit =
    16u << 20;  // bytes on their way; beyond it the device's own queue fills, as a card's does
constexpr std::size_t frame_limit = 70'000;  // a frame of 64 KiB with its headers
constexpr int batch = 64;                    // frames taken in between looking at what is due

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "cable: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// Frames of TCP's that are to be cut by the card (TSO) pass uncut: 45 times fewer to carry at a Gbit/s.
int make_tap(const char* name_space, const char* device) {
  int file = ::open(name_space, O_RDONLY | O_CLOEXEC);
  if (file < 0 || ::setns(file, CLONE_NEWNET) != 0) die(name_space);
  ::close(file);
  int tap = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) die("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (::ioctl(tap, TUNSETIFF, &request) != 0) die("TUNSETIFF");
  if (::ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) != 0) die("TUNSETOFFLOAD");
  return tap;
}

// One direction.
class Strand {
 public:
  Strand(int from, int to, nanoseconds delay, double bits_per_ns)
      : from_(from), to_(to), delay_(delay), bits_per_ns_(bits_per_ns) {}

  [[noreturn]] void run() {
    ::prctl(PR_SET_TIMERSLACK, 1);  // 50 µs else, of a delay of 150
    for (;;) {
      wait();
      take();
      deliver();
    }
  }

 private:
  struct Frame {
    Clock::time_point due;
    std::vector<char> bytes;
  };

  void wait() {
    pollfd readable{from_, static_cast<short>(queued_ < queue_limit ? POLLIN : 0), 0};
    timespec time{}, *limit = nullptr;
    if (!queue_.empty()) {
      auto left = std::max<nanoseconds>(queue_.front().due - Clock::now(), nanoseconds(0)).count();
      time = {left / 1'000'000'000, left % 1'000'000'000};
      limit = &time;
    }
    ::ppoll(&readable, 1, limit, nullptr);
  }

  void take() {
    for (int i = 0; i < batch && queued_ < queue_limit; i++) {
      ssize_t size = ::read(from_, buffer_.data(), buffer_.size());
      if (size <= 0) return;
      // It has left when the frames before it have, and it itself.
      free_ = std::max(free_, Clock::now()) +
              nanoseconds(static_cast<long>(static_cast<double>(size) * 8 / bits_per_ns_));
      queue_.push_back({free_ + delay_, {buffer_.data(), buffer_.data() + size}});
      queued_ += static_cast<std::size_t>(size);
    }
  }

  void deliver() {
    for (auto now = Clock::now(); !queue_.empty() && queue_.front().due <= now; queue_.pop_front()) {
      const auto& bytes = queue_.front().bytes;
      // A full peer drops the frame, as a switch would.
      [[maybe_unused]] auto written = ::write(to_, bytes.data(), bytes.size());
      queued_ -= bytes.size();
    }
  }

  int from_, to_;
  nanoseconds delay_;
  double bits_per_ns_;
  std::vector<char> buffer_ = std::vector<char>(frame_limit);
  std::deque<Frame> queue_;
  std::size_t queued_ = 0;
  Clock::time_point free_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: cable NAMESPACE_A NAMESPACE_B DEVICE ONE_WAY_US RATE_MBIT\n");
    return 2;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int a = make_tap(argv[1], argv[3]), b = make_tap(argv[2], argv[3]);
  nanoseconds delay(static_cast<long>(std::atof(argv[4]) * 1000));
  double bits_per_ns = std::atof(argv[5]) / 1000;
  if (bits_per_ns <= 0) die("RATE_MBIT");
  std::puts("ready");
  std::fflush(stdout);
  Strand there(a, b, delay, bits_per_ns), back(b, a, delay, bits_per_ns);
  std::thread thread([&] { there.run(); });
  back.run();
}
