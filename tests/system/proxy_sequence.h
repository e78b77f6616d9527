// SPDX-License-Identifier: LGPL-2.1-or-later
// What a caller does to a child, and what the child does meanwhile: random, and then made definite, so that two runs of one
// sequence must give the same.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace ssi::proxy {

enum class Kind {
  feed,          // the caller writes `amount` bytes, the child reads as many
  leave,         // the caller writes bytes that the child doesn't ask for
  close_stdin,   // the caller closes its end
  say,           // the child writes to stream `number`
  close_stream,  // the child closes stream `number`
  close_reader,  // the caller stops reading stream `number`, the child writes until it hears of it
  trap,          // the child traps, ignores, or leaves to its default signal `number`
  ignore,
  standard,
  signal,        // the caller sends signal `number` to the child
  group_signal,  // or to its process group
  stop,          // the child stops itself by signal `number`; the caller continues it
  halt,          // the caller stops it, and continues it
  halt_group,
  sleep,  // `amount` milliseconds
  exit,   // with status `number`
  die,    // by signal `number`
};

struct Step {
  Kind kind = Kind::sleep;
  int number = 0;
  int amount = 0;
};

struct Sequence {
  std::vector<Step> steps;
  bool merged = false;  // 2>&1
};

std::ostream& operator<<(std::ostream& out, const Step& step);
std::ostream& operator<<(std::ostream& out, const Sequence& sequence);

// One thing that the caller does, and what the child is told to do about it, if anything.
struct Act {
  enum class What {
    nothing,
    write,
    close_stdin,
    close_reader,
    await_bytes,
    await_end,
    signal,
    group_signal,
    stopped,
    halt,
    halt_group,
    sleep
  };
  What what = What::nothing;
  int number = 0;          // signal, stream, bytes, milliseconds
  std::string child = {};  // an argument of proxy-child; it answers with one line
  bool barrier =
      false;  // SIGUSR2 to the same follows: when it is heard, what came before has been, or never will be
  bool last = false;  // the child ends by it
};

// Steps that cannot be done any more, such as feeding a closed stdin, are left out, and an end is added.
std::vector<Act> definite(const Sequence& sequence);

}  // namespace ssi::proxy
