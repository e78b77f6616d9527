// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/speed.h"

#include <time.h>

#include <algorithm>
#include <cstdint>

namespace ssi {
namespace {

constexpr int rounds = 3;
constexpr double round_seconds = 0.017;
constexpr std::uint64_t batch = 100'000;  // steps between two looks at the clock

// The thread's own time: what a neighbour takes of the processor now is no property of the machine, and is
// reported as load.
double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

struct State {
  std::uint64_t word = 0x9e3779b97f4a7c15u;
  double real = 1;
};

// One step: what encoders and compilers mostly do, integer mixing beside independent floating point.
void steps(State& state, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    state.word ^= state.word << 13;
    state.word ^= state.word >> 7;
    state.word ^= state.word << 17;
    state.real = state.real * 0.999'999 + static_cast<double>(state.word & 0xff) * 1e-3;
  }
}

}  // namespace

double measure_speed() {
  State state;
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    std::uint64_t done = 0;
    double seconds = 0;
    const double start = thread_seconds();
    while ((seconds = thread_seconds() - start) < round_seconds) {
      steps(state, batch);
      done += batch;
    }
    best = std::max(best, static_cast<double>(done) / seconds / 1e9);
  }
  // The result must be used, or the compiler drops the loop.
  [[maybe_unused]] volatile double used = state.real + static_cast<double>(state.word);
  return best;
}

}  // namespace ssi
