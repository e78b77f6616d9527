// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/job_streams.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "deputy/peeked_input.h"

namespace ssi {
namespace {

constexpr auto terminal = wire::Data::terminal;

}  // namespace

JobStreams::JobStreams(Loop& loop, Session& session, std::uint64_t job, std::function<void()> before_input)
    : loop_(loop), session_(session), job_(job), before_input_(std::move(before_input)) {}

JobStreams::~JobStreams() {
  *alive_ = false;
}

void JobStreams::connect(std::vector<PassedFd> passed, const std::vector<wire::Descriptor>& described,
                         Fd channel) {
  kept_.emplace();
  for (const auto& one : passed) kept_->push_back({one.number, one.terminal, one.fd.duplicate()});
  for (std::size_t i = 0; i < passed.size() && i < described.size(); ++i)
    connect_one(described[i], std::move(passed[i].fd));
  if (!channel) return;
  auto back = channel.duplicate();
  add_output(terminal, std::move(channel));
  add_input(terminal, std::move(back));
}

std::optional<std::vector<PassedFd>> JobStreams::take_back() {
  for (const auto& [stream, source] : inputs_)
    if (source->bytes() > 0 && !files_.contains(stream))
      return std::nullopt;  // nobody else can read that now
  for (const auto& [number, file] : files_)
    if (file.start >= 0) ::lseek(file.fd.get(), file.start, SEEK_SET);
  return std::exchange(kept_, std::nullopt);
}

void JobStreams::connect_one(const wire::Descriptor& described, Fd fd) {
  const auto stream = static_cast<std::uint8_t>(described.fd);
  switch (static_cast<wire::DescriptorKind>(described.kind)) {
    case wire::DescriptorKind::input: {
      struct stat status;
      if (::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode))
        files_.emplace(described.fd, File{fd.duplicate(), ::lseek(fd.get(), 0, SEEK_CUR)});
      return add_input(stream, std::move(fd));
    }
    case wire::DescriptorKind::output:
      return add_output(stream, std::move(fd));
    case wire::DescriptorKind::same_as:
    case wire::DescriptorKind::device:
    case wire::DescriptorKind::file:
      return;
    case wire::DescriptorKind::terminal:
      terminal_ = std::move(fd);
      return;
  }
}

void JobStreams::add_input(std::uint8_t stream, Fd fd) {
  std::unique_ptr<Readable> from;
  if (stream != terminal && PeekedInput::possible(fd.get())) {
    from = std::make_unique<PeekedInput>(std::move(fd));
  } else {
    auto adopted = StreamFd::adopt(std::move(fd), StreamFd::Use::read);
    if (!adopted) return session_.post(wire::End{job_, stream}, {}, Session::Lane::bulk);
    from = std::make_unique<StreamFd>(std::move(*adopted));
  }
  auto& source = inputs_[stream];
  source = std::make_unique<Source>(loop_, session_, job_, stream, std::move(from));
  source->before_sending(before_input_);
  source->begin();
}

void JobStreams::add_output(std::uint8_t stream, Fd fd) {
  auto adopted = StreamFd::adopt(std::move(fd), StreamFd::Use::write);
  if (adopted)
    outputs_[stream] = std::make_unique<Sink>(loop_, session_, job_, stream, std::move(*adopted));
  else  // a pipe without a reader: the first write there gets SIGPIPE, as at home
    session_.post(wire::End{job_, stream}, {}, Session::Lane::bulk);
}

bool JobStreams::data(std::uint8_t stream, std::string_view bytes) {
  const auto sink = outputs_.find(stream);
  return sink == outputs_.end() || sink->second->push(bytes);
}

void JobStreams::credit(std::uint8_t stream, std::uint32_t bytes) {
  if (const auto source = inputs_.find(stream); source != inputs_.end()) source->second->credit(bytes);
}

void JobStreams::end(std::uint8_t stream) {
  if (const auto source = inputs_.find(stream); source != inputs_.end()) source->second->stop();
  if (const auto sink = outputs_.find(stream); sink != outputs_.end()) sink->second->end();
}

void JobStreams::consumed(std::uint8_t stream, std::uint64_t bytes) {
  if (const auto source = inputs_.find(stream); source != inputs_.end()) source->second->taken(bytes);
}

void JobStreams::stop_inputs(const std::vector<wire::Position>& positions) {
  for (const auto& position : positions)
    if (position.fd < terminal) consumed(static_cast<std::uint8_t>(position.fd), position.value);
  for (auto& [stream, source] : inputs_) source->stop();
}

void JobStreams::caller_left() {
  if (terminal_) add_output(terminal, std::exchange(terminal_, {}));
}

void JobStreams::settle(const std::vector<wire::Position>& positions) {
  for (const auto& position : positions)
    if (const auto file = files_.find(position.fd); file != files_.end() && file->second.start >= 0)
      ::lseek(file->second.fd.get(), file->second.start + static_cast<off_t>(position.value), SEEK_SET);
}

void JobStreams::flushed(std::function<void()> f) {
  auto left = std::make_shared<int>(1);
  const auto one_done = [left, f = std::move(f), alive = alive_] {
    if (*alive && --*left == 0) f();
  };
  for (const auto& [stream, sink] : outputs_) {
    ++*left;
    sink->flushed(one_done);
  }
  one_done();
}

const Error* JobStreams::write_error() const {
  for (const auto& [stream, sink] : outputs_)
    if (sink->write_error()) return sink->write_error();
  return nullptr;
}

std::uint64_t JobStreams::bytes_in() const {
  std::uint64_t sum = 0;
  for (const auto& [stream, source] : inputs_) sum += source->bytes();
  return sum;
}

std::uint64_t JobStreams::bytes_out() const {
  std::uint64_t sum = 0;
  for (const auto& [stream, sink] : outputs_) sum += sink->bytes();
  return sum;
}

}  // namespace ssi
