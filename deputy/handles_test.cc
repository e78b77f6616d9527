// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/handles.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

struct Steps {
  Loop loop;
  std::shared_ptr<int> session = std::make_shared<int>();
  std::shared_ptr<OpenFile> file = std::make_shared<OpenFile>();
  std::string ran;  // one step at a time writes here

  Steps() { file->session = session; }
  void add(
      char name, unsigned us, std::function<void()> done = [] {}) {
    OpenFile::in_order(
        file, loop,
        [this, name, us] {
          ::usleep(us);
          ran += name;
        },
        std::move(done));
  }
};

}  // namespace

TEST_CASE("a file's changes run one after the other") {
  Steps steps;
  steps.add('a', 30'000);
  steps.add('b', 10'000);
  steps.add('c', 0, [&] { steps.add('d', 0); });
  steps.loop.run();
  CHECK(steps.ran == "abcd");
}

TEST_CASE("changes that have not begun when the session goes are dropped") {
  Steps steps;
  steps.add('a', 0, [&] { steps.session.reset(); });
  steps.add('b', 0);
  steps.add('c', 0);
  std::weak_ptr<OpenFile> file = steps.file;
  steps.file.reset();  // released: the steps alone hold it
  steps.loop.run();
  CHECK(steps.ran == "a");
  CHECK(file.expired());
}
