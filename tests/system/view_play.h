// SPDX-License-Identifier: LGPL-2.1-or-later
// Plays a sequence twice: with all actors at home in one directory, and with each where it belongs in another.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/system/view_sequence.h"

namespace ssi::view {

// A process that does what it is asked to, for as long as this lives (view_actor.c).
class Actor {
 public:
  explicit Actor(std::vector<std::string> command);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  // Started when it isn't running. One that doesn't answer within 20 s is killed.
  std::string ask(const std::string& operation);

 private:
  std::vector<std::string> command_;
  int pid_ = -1, to_ = -1, from_ = -1;
  void start();
  void end();
};

class Stage {
 public:
  // A place is "home", or a guest's name.
  Stage(const std::filesystem::path& directory, const std::string& actor, const std::string& ssirun,
        const std::vector<std::string>& places);
  // What was not the same; nothing if all was.
  std::string play(const Sequence& sequence);

 private:
  struct Side {
    std::filesystem::path directory;
    std::vector<std::unique_ptr<Actor>> actors;  // the last is at home, and looks at the end
  };
  std::vector<std::string> places_;
  Side home_, view_;
  bool any_job_ = false;
  int played_ = 0;

  std::string ask(const std::string& asked, std::size_t at_home, std::size_t in_view);
  std::string ask_all(const std::string& asked, const Sequence& sequence);
  std::string compare(const Sequence& sequence);
};

}  // namespace ssi::view
