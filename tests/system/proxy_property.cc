// SPDX-License-Identifier: LGPL-2.1-or-later
// Property: a child behind ssirun sees, and shows its caller, what it does at home.
//   proxy-property CHILD [PREFIX...]     CHILD: the program of proxy_child.c; no PREFIX compares home with home
// RC_PARAMS="seed=N max_success=M" sets what is tried (rapidcheck's documentation, configuration.md); the seed is printed.
// Runs in the current directory, which both sides must see.
#include <rapidcheck.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "tests/system/proxy_run.h"

namespace rc {

template <>
struct Arbitrary<ssi::proxy::Step> {
  static Gen<ssi::proxy::Step> arbitrary() {
    using namespace ssi::proxy;
    const auto with = [](Kind kind, Gen<int> number, Gen<int> amount) {
      return gen::map(gen::pair(std::move(number), std::move(amount)), [kind](const std::pair<int, int>& p) {
        return Step{kind, p.first, p.second};
      });
    };
    const auto none = gen::just(0);
    const auto bytes = gen::weightedOneOf<int>({{8, gen::inRange(0, 500)}, {2, gen::inRange(0, 150'000)}});
    const auto stream = gen::element(1, 2);
    const auto heard =
        gen::element(SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGALRM, SIGWINCH, SIGURG, SIGPIPE);
    const auto stops = gen::element(SIGSTOP, SIGTSTP, SIGTTIN);
    return gen::weightedOneOf<Step>({
        {5, with(Kind::feed, none, bytes)},
        {3, with(Kind::leave, none, bytes)},
        {1, with(Kind::close_stdin, none, none)},
        {5, with(Kind::say, stream, bytes)},
        {1, with(Kind::close_stream, stream, none)},
        {1, with(Kind::close_reader, stream, none)},
        {5, with(Kind::trap, heard, none)},
        {3, with(Kind::ignore, heard, none)},
        {1, with(Kind::standard, heard, none)},
        {4, with(Kind::signal, heard, none)},
        {4, with(Kind::group_signal, heard, none)},
        {1, with(Kind::stop, stops, none)},
        {1, with(Kind::halt, stops, none)},
        {1, with(Kind::halt_group, stops, none)},
        {1, with(Kind::sleep, none, gen::inRange(0, 20))},
        {1, with(Kind::exit, gen::inRange(0, 256), none)},
        {1, with(Kind::die, gen::element(SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGUSR1), none)},
    });
  }
};

template <>
struct Arbitrary<ssi::proxy::Sequence> {
  static Gen<ssi::proxy::Sequence> arbitrary() {
    using namespace ssi::proxy;
    const auto steps = gen::resize(16, gen::arbitrary<std::vector<Step>>());
    return gen::build<Sequence>(gen::set(&Sequence::steps, steps), gen::set(&Sequence::merged));
  }
};

}  // namespace rc

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: proxy-property CHILD [PREFIX...]\n";
    return 2;
  }
  setenv("RC_PARAMS", "max_success=300", 0);
  std::signal(SIGPIPE, SIG_IGN);
  const std::string child = argv[1];
  const std::vector<std::string> prefix(argv + 2, argv + argc);
  std::string
      difference;  // of the last that failed: what fails now and then does not do so when rapidcheck asks for its words
  const bool held = rc::check("a child behind the prefix and its caller see what they see at home",
                              [&](const ssi::proxy::Sequence& sequence) {
                                const std::string home = ssi::proxy::run(sequence, {}, child);
                                const std::string here = ssi::proxy::run(sequence, prefix, child);
                                if (here != home)
                                  difference = "at home:\n" + home + "behind the prefix:\n" + here;
                                RC_ASSERT(here == home);
                              });
  std::cout << difference;
  return held ? 0 : 1;
}
