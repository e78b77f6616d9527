// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/proxy_sequence.h"

#include <csignal>
#include <map>
#include <ostream>
#include <set>
#include <utility>

namespace ssi::proxy {

namespace {

constexpr const char* names[] = {"feed",         "leave", "close_stdin", "say",        "close_stream",
                                 "close_reader", "trap",  "ignore",      "standard",   "signal",
                                 "group_signal", "stop",  "halt",        "halt_group", "sleep",
                                 "exit",         "die"};

std::string word(char verb, int number) {
  return verb + std::to_string(number);
}

// What is known of the child while its sequence is made definite.
class Child {
 public:
  explicit Child(bool merged) : merged_(merged) {}

  // The end of the sequence: nothing may follow.
  [[nodiscard]] bool ended() const { return !acts_.empty() && acts_.back().last; }
  std::vector<Act> take() { return std::move(acts_); }

  void add(const Step& step) {
    switch (step.kind) {
      case Kind::feed:
      case Kind::leave:
      case Kind::close_stdin:
        return stdin(step);
      case Kind::say:
      case Kind::close_stream:
      case Kind::close_reader:
        return stream(step);
      case Kind::trap:
        return dispose('t', step.number);
      case Kind::ignore:
        return dispose('i', step.number);
      case Kind::standard:
        return dispose('d', step.number);
      case Kind::signal:
        return signal(Act::What::signal, step.number);
      case Kind::group_signal:
        return signal(Act::What::group_signal, step.number);
      case Kind::stop:
        put({.what = Act::What::stopped, .number = step.number, .child = word('s', step.number)});
        return gate();  // or the next stop hides this continuation
      case Kind::halt:
        return gate(Act::What::halt, step.number);
      case Kind::halt_group:
        return gate(Act::What::halt_group, step.number);
      case Kind::sleep:
        return put({.what = Act::What::sleep, .number = step.amount});
      case Kind::exit:
        gate(Act::What::group_signal);  // the other process of the group has heard all there was for it
        gate();
        return put({.child = word('x', step.number), .last = true});
      case Kind::die:
        return die(step.number);
    }
  }

 private:
  bool merged_, closed_stdin_ = false;
  std::set<int> closed_, unread_;  // streams that the child has closed, that the caller doesn't read
  std::map<int, char> dispositions_;
  std::vector<Act> acts_;

  void put(Act act) { acts_.push_back(std::move(act)); }

  // The child goes on only when the caller has seen all that came before.
  void gate(Act::What what = Act::What::nothing, int number = 0) {
    put({what, number, word('a', SIGUSR2), true});
  }

  void stdin(const Step& step) {
    if (step.kind == Kind::close_stdin) {
      if (!std::exchange(closed_stdin_, true)) put({.what = Act::What::close_stdin});
      return put({.child = word('r', 1 << 20)});
    }
    if (step.kind == Kind::leave) {
      if (!closed_stdin_) put({.what = Act::What::write, .number = step.amount % 1000});
      return;
    }
    put({.what = closed_stdin_ ? Act::What::nothing : Act::What::write,
         .number = step.amount,
         .child = word('r', step.amount)});
  }

  void stream(const Step& step) {
    const int fd = step.number;
    const bool gone = unread_.contains(fd) || (merged_ && !unread_.empty());
    if (step.kind == Kind::close_stream) {
      closed_.insert(fd);
      put({.child = word('c', fd)});
      if (!gone && (!merged_ || closed_.size() == 2))
        put({.what = Act::What::await_end, .number = merged_ ? 1 : fd});
    } else if (step.kind == Kind::close_reader) {
      unread_.insert(fd);
      gate(Act::What::close_reader, merged_ ? 1 : fd);
      write_unread(fd);
    } else if (gone) {
      write_unread(fd);
    } else {
      put({.what = closed_.contains(fd) ? Act::What::nothing : Act::What::await_bytes,
           .number = step.amount,
           .child = word('w', fd) + ',' + std::to_string(step.amount)});
    }
  }

  void write_unread(int fd) {
    const char how = disposition(SIGPIPE);
    gate();
    put({.child = word('p', fd), .last = !closed_.contains(fd) && how == 'd'});
    // A trapped one waits to be heard.
    if (!closed_.contains(fd) && how == 't') put({.child = word('a', SIGPIPE)});
  }

  char disposition(int number) const {
    const auto found = dispositions_.find(number);
    return found == dispositions_.end() ? 'd' : found->second;
  }

  void dispose(char verb, int number) {
    dispositions_[number] = verb;
    put({.child = word(verb, number)});
  }

  void signal(Act::What what, int number) {
    const char how = disposition(number);
    const bool harmless = number == SIGWINCH || number == SIGURG;
    if (how == 't') return put({.what = what, .number = number, .child = word('a', number)});
    if (how == 'i' || harmless) return gate(what, number);
    put({.what = what, .number = number, .child = word('a', SIGUSR2), .last = true});
  }

  void die(int number) {
    if (disposition(number) != 'd') dispose('d', number);
    gate();
    put({.child = word('k', number), .last = true});
  }
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << names[static_cast<int>(step.kind)] << ' ' << step.number << ' ' << step.amount;
}

std::ostream& operator<<(std::ostream& out, const Sequence& sequence) {
  out << (sequence.merged ? "2>&1" : "apart");
  for (const Step& step : sequence.steps) out << "; " << step;
  out << "\n  child:";
  for (const Act& act : definite(sequence)) out << ' ' << (act.child.empty() ? "-" : act.child);
  return out;
}

std::vector<Act> definite(const Sequence& sequence) {
  Child child(sequence.merged);
  for (const Step& step : sequence.steps) {
    child.add(step);
    if (child.ended()) return child.take();
  }
  child.add({Kind::exit, 0, 0});
  return child.take();
}

}  // namespace ssi::proxy
