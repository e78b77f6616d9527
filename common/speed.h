// SPDX-License-Identifier: LGPL-2.1-or-later
// How fast one processor of this machine is.
#pragma once

namespace ssi {

// In 1e9 steps of our own loop per second (see speed.cc); the best of three rounds, about 50 ms in all. The
// scheduler compares machines by it, so the loop must not change without raising wire::version.
double measure_speed();

}  // namespace ssi
