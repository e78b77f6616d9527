// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/view_play.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <sstream>
#include <utility>

namespace ssi::view {

namespace {

constexpr int patience_ms = 20'000;

std::array<int, 2> new_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) < 0) abort();
  return ends;
}

bool is_job(const std::string& place) {
  return place != "home";
}

// Of such a write at home nobody is told (docs/view.md).
bool maps_to_write(const Step& step) {
  return step.verb == "map" && step.flags;
}

// What is there before the first step: without it most sequences would fail at names that aren't there.
void furnish(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory / "d");
  std::filesystem::create_directories(directory / "e");
  std::ofstream(directory / "a") << std::string(9000, 'a');
  std::ofstream(directory / "d/b") << "short\n";
}

}  // namespace

Actor::Actor(std::vector<std::string> command) : command_(std::move(command)) {}

Actor::~Actor() {
  end();
}

void Actor::start() {
  const auto in = new_pipe(), out = new_pipe();
  std::vector<char*> argv;
  for (std::string& word : command_) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    dup2(in[0], 0);
    dup2(out[1], 1);
    execv(argv[0], argv.data());
    _exit(127);
  }
  to_ = in[1];
  from_ = out[0];
  close(in[0]);
  close(out[1]);
}

void Actor::end() {
  if (pid_ < 0) return;
  close(to_);
  close(from_);
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string Actor::ask(const std::string& operation) {
  if (pid_ < 0) start();
  const std::string asked = operation + '\n';
  bool is_lost = write(to_, asked.data(), asked.size()) != static_cast<ssize_t>(asked.size());
  std::string answer;
  while (!is_lost && !answer.ends_with('\n')) {
    std::array<char, 4096> chunk{};
    pollfd readable{from_, POLLIN, 0};
    const ssize_t got = poll(&readable, 1, patience_ms) == 1 ? read(from_, chunk.data(), chunk.size()) : -1;
    is_lost = got <= 0;
    if (!is_lost) answer.append(chunk.data(), static_cast<std::size_t>(got));
  }
  if (is_lost) {
    end();
    return "no answer, only: " + answer;
  }
  answer.pop_back();
  return answer;
}

Stage::Stage(const std::filesystem::path& directory, const std::string& actor, const std::string& ssirun,
             const std::vector<std::string>& places)
    : places_(places), home_{directory / "home", {}}, view_{directory / "view", {}} {
  const std::vector<std::string> here{actor};
  for (const std::string& place : places) {
    any_job_ = any_job_ || is_job(place);
    home_.actors.push_back(std::make_unique<Actor>(here));
    view_.actors.push_back(std::make_unique<Actor>(
        is_job(place) ? std::vector<std::string>{ssirun, "--on", place, "--", actor} : here));
  }
  for (Side* side : {&home_, &view_}) side->actors.push_back(std::make_unique<Actor>(here));
}

// "" when both give the same answer.
std::string Stage::ask(const std::string& asked, std::size_t at_home, std::size_t in_view) {
  const std::string there = home_.actors[at_home]->ask(asked), here = view_.actors[in_view]->ask(asked);
  const std::string where = in_view < places_.size() ? places_[in_view] : "home, as a witness";
  return there == here ? "" : asked + "\n  at home: " + there + "\n  at " + where + ": " + here + '\n';
}

std::string Stage::ask_all(const std::string& asked, const Sequence& sequence) {
  std::string difference;
  for (const unsigned place : sequence.places)
    if (difference.empty()) difference = ask(asked, place, place);
  return difference;
}

std::string Stage::compare(const Sequence& sequence) {
  std::size_t number = 0;
  for (const Step& step : definite(sequence)) {
    const unsigned place = sequence.places[step.actor];
    ++number;
    if (!is_job(places_[place]) && any_job_ && maps_to_write(step)) continue;
    std::string difference = ask(line(step), place, place);
    // A job is not told of what home does by a name that it has never seen (docs/view.md).
    if (difference.empty() && step.verb == "link" && !is_job(places_[place]))
      difference = ask_all("stat 0 0 " + step.path2 + " - 0 0 0", sequence);
    if (!difference.empty()) return "step " + std::to_string(number) + ": " + difference;
  }
  const std::string look = "tree 0 0 . - 0 0 0";
  const std::string difference = ask_all(look, sequence);
  return difference.empty() ? ask(look, places_.size(), places_.size()) : "at the end: " + difference;
}

// Each in a new directory, so that nothing is left of the one before. Its name has no meaning: it is of the same length on both sides.
std::string Stage::play(const Sequence& sequence) {
  const std::string name = std::to_string(++played_);
  std::vector<unsigned> members = sequence.places;
  members.push_back(static_cast<unsigned>(places_.size()));
  std::string difference;
  for (const Side* side : {&home_, &view_}) {
    furnish(side->directory / name);
    for (const unsigned member : members) {
      const std::string said =
          side->actors[member]->ask("enter 0 0 " + (side->directory / name).string() + " - 0 0 0");
      if (said != "0") difference += "enter: " + said + '\n';
    }
  }
  if (difference.empty()) difference = compare(sequence);
  for (const Side* side : {&home_, &view_}) {
    for (const unsigned member : members) side->actors[member]->ask("enter 0 0 / - 0 0 0");
    std::filesystem::remove_all(side->directory / name);
  }
  return difference;
}

}  // namespace ssi::view
