// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/job_streams.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

bool JobStreams::Kept::left_no_trace() const {
  return taken.empty() && std::ranges::all_of(delivered, [](const auto& one) { return one.second.bytes() == 0; });
}

void JobStreams::connect(Kept before, const std::vector<wire::Descriptor>& described) {
  before_ = std::move(before);
  described_ = described;
  kept_.emplace();
  for (const auto& one : before_.descriptors) kept_->push_back({one.number, one.terminal, one.fd.duplicate()});
  for (std::size_t i = 0; i < before_.descriptors.size() && i < described.size(); ++i)
    connect_one(described[i], std::move(before_.descriptors[i].fd));
  if (!before_.channel) return;
  channel_ = before_.channel.duplicate();
  auto back = before_.channel.duplicate();
  add_output(terminal, std::move(before_.channel));
  add_input(terminal, std::move(back));
}

std::string JobStreams::why_not_again() const {
  if (!kept_ || closed_one_) return "it has closed one of its streams";
  if (recorded_bytes_ > max_taken) return "it has read more than can be kept of its input";
  if (const auto typed = inputs_.find(terminal); typed != inputs_.end() && typed->second->bytes() > 0)
    return "something was typed at its terminal";
  return {};
}

bool JobStreams::silent() const {
  return std::ranges::all_of(outputs_, [](const auto& output) { return output.second->bytes() == 0; });
}

bool JobStreams::has_taken() const {
  return std::ranges::any_of(inputs_, [&](const auto& input) {
    return input.second->bytes() > 0 && !files_.contains(input.first);
  });
}

JobStreams::Kept JobStreams::take_back() {
  Kept kept{std::move(*kept_), std::move(channel_), {}, std::move(before_.delivered)};
  for (const auto& [stream, source] : inputs_)
    if (const auto gone = source->taken(); gone > 0 && !files_.contains(stream))
      kept.taken[stream] = recorded_[stream].substr(0, static_cast<std::size_t>(gone));
  // Its user reads what is shown to him, and it is not the same twice: messages, and how far it has come.
  for (const auto& [stream, sink] : outputs_)
    if (stream != terminal && stream != STDERR_FILENO && sink->still_to_skip() == 0) kept.delivered[stream] = sink->sum();
  for (const auto& [number, file] : files_)
    if (file.start >= 0) ::lseek(file.fd.get(), file.start, SEEK_SET);
  kept_.reset();
  inputs_.clear();
  outputs_.clear();
  return kept;
}

void JobStreams::keep_no_more() {
  kept_.reset();
  channel_.reset();
  recorded_.clear();
  recorded_bytes_ = 0;
}

void JobStreams::closed(std::uint8_t stream) {
  const auto input = inputs_.find(stream);
  if (input != inputs_.end() && (input->second->ended() || files_.contains(stream))) return;  // it was at its end
  closed_one_ = true;
  if (!kept_) return;
  for (std::size_t i = 0; i < kept_->size() && i < described_.size(); ++i) {
    const auto& one = described_[i];
    const bool same = one.kind == static_cast<std::uint8_t>(wire::DescriptorKind::same_as) && one.of == stream;
    if (one.fd == stream || same) (*kept_)[i].fd.reset();
  }
  if (stream == terminal) channel_.reset();
}

bool JobStreams::differs() const {
  return std::ranges::any_of(outputs_, [](const auto& output) { return output.second->differs(); });
}

bool JobStreams::said_all_again() const {
  return std::ranges::all_of(outputs_, [](const auto& output) { return output.second->still_to_skip() == 0; });
}

bool JobStreams::is_as_recorded(const std::vector<wire::StreamRecord>& outputs) const {
  return std::ranges::all_of(outputs, [&](const wire::StreamRecord& record) {
    const auto found = outputs_.find(record.stream);
    if (found == outputs_.end() || found->second->discards()) return true;
    const auto& sum = found->second->sum();
    return sum.bytes() == record.bytes && sum.digest() == record.digest;
  });
}

// What is taken from a pipe can only be had again from here.
void JobStreams::record(std::uint8_t stream, Source& source) {
  if (files_.contains(stream)) return;
  if (const auto before = before_.taken.find(stream); before != before_.taken.end()) {
    recorded_[stream] = before->second;
    recorded_bytes_ += before->second.size();
    source.send_first(std::move(before->second));
  }
  source.record([this, stream](std::string_view bytes) {
    if (!kept_ || recorded_bytes_ > max_taken) return;
    recorded_bytes_ += bytes.size();
    if (recorded_bytes_ > max_taken)
      recorded_.clear();
    else
      recorded_[stream].append(bytes);
  });
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
  record(stream, *source);
  source->begin();
}

void JobStreams::add_output(std::uint8_t stream, Fd fd) {
  auto adopted = StreamFd::adopt(std::move(fd), StreamFd::Use::write);
  if (adopted)
    outputs_[stream] = std::make_unique<Sink>(loop_, session_, job_, stream, std::move(*adopted));
  if (const auto said = before_.delivered.find(stream); adopted && said != before_.delivered.end())
    outputs_[stream]->skip(said->second);
  if (!adopted)  // a pipe without a reader: the first write there gets SIGPIPE, as at home
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
