// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/task_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace ssi {

void TaskCalls::ask(StemChannel& stem, pid_t task, std::function<void(const std::string&)> then) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return then({});
  std::vector<Fd> passed;
  passed.emplace_back(ends[1]);
  inside::ToStem packet{};
  packet.kind = inside::ToStem::look_at;
  packet.look.task = task;
  questions_.push_back({Fd(ends[0]), std::move(then), nullptr});
  const auto question = std::prev(questions_.end());
  question->poll = std::make_unique<Poll>(loop_, question->answer.get(), [this, question](int) {
    std::array<char, inside::max_call> text;
    const auto got = ::read(question->answer.get(), text.data(), text.size());
    if (got < 0 && errno == EAGAIN) return;
    const auto done = std::move(question->then);
    question->poll.reset();
    questions_.erase(question);
    done(std::string(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
  });
  question->poll->want(UV_READABLE);
  stem.send(packet, std::move(passed));
}

}  // namespace ssi
