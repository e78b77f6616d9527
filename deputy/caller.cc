// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/caller.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "common/fd_passing.h"
#include "common/log.h"

namespace ssi {
namespace {

constexpr int most_unread = 64 << 10;  // bytes as the kernel counts them, of some 200 KiB

// Takes one NUL-ended string off the front.
Result<std::string> take_string(std::string_view& bytes) {
  const auto end = bytes.find('\0');
  if (end == std::string_view::npos) return failure("handover with too few strings");
  std::string text(bytes.substr(0, end));
  bytes.remove_prefix(end + 1);
  return text;
}

// Takes `count` NUL-ended strings as they are.
Result<std::string> take_strings(std::string_view& bytes, std::uint32_t count) {
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    at = bytes.find('\0', at);
    if (at == std::string_view::npos) return failure("handover with too few strings");
    ++at;
  }
  std::string strings(bytes.substr(0, at));
  bytes.remove_prefix(at);
  return strings;
}

std::vector<std::string> split(const std::string& strings) {
  std::vector<std::string> list;
  for (std::size_t at = 0; at < strings.size(); at += list.back().size() + 1)
    list.emplace_back(strings.c_str() + at);
  return list;
}

}  // namespace

std::string RunRequest::command() const {
  return path.substr(path.rfind('/') + 1);
}

std::string RunRequest::command_line() const {
  constexpr std::size_t longest = 400;
  std::string line = arguments.substr(0, longest);
  if (line.ends_with('\0')) line.pop_back();
  for (auto& c : line)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  return arguments.size() > longest ? line + "..." : line;
}

std::vector<std::string> RunRequest::argv() const {
  return split(arguments);
}

std::vector<std::string> RunRequest::variables() const {
  return split(environment);
}

std::array<int, 3> RunRequest::stdio() const {
  std::array<int, 3> numbers{-1, -1, -1};
  for (const auto& passed : descriptors)
    if (passed.number < 3) numbers[passed.number] = passed.fd.get();
  return numbers;
}

Status RunRequest::take_descriptors(std::string_view& bytes, std::vector<Fd> fds) {
  const std::size_t count = fields.descriptors;
  const std::size_t channels = has(HANDOVER_TERMINAL) ? 1 : 0;
  if (count > HANDOVER_DESCRIPTORS || (fds.size() != count + channels && !lost_descriptors) ||
      bytes.size() < count * sizeof(handover_descriptor))
    return failure("handover with other descriptors than it says");
  for (std::size_t i = 0; i < count && !lost_descriptors; ++i) {
    handover_descriptor described;
    std::memcpy(&described, bytes.data() + i * sizeof described, sizeof described);
    descriptors.push_back({described.number, described.terminal != 0 && channels != 0, std::move(fds[i])});
  }
  if (channels && !lost_descriptors) channel = std::move(fds.back());
  bytes.remove_prefix(count * sizeof(handover_descriptor));
  return {};
}

Result<RunRequest> RunRequest::parse(std::string_view bytes, std::vector<Fd> fds, bool lost) {
  RunRequest request;
  request.lost_descriptors = lost;
  if (bytes.size() < sizeof request.fields) return failure("handover too short");
  std::memcpy(&request.fields, bytes.data(), sizeof request.fields);
  bytes.remove_prefix(sizeof request.fields);
  if (request.fields.version != HANDOVER_VERSION)
    return failure(
        "ssirun and ssi-deputy are of different versions; end the deputy (pkill ssi-deputy) and try again");
  if (auto taken = request.take_descriptors(bytes, std::move(fds)); !taken)
    return tl::make_unexpected(taken.error());
  for (auto* text : {&request.path, &request.cwd, &request.guest, &request.config_file, &request.scheduler}) {
    auto taken = take_string(bytes);
    if (!taken) return tl::make_unexpected(taken.error());
    *text = std::move(*taken);
  }
  auto arguments = take_strings(bytes, request.fields.argc);
  if (!arguments) return tl::make_unexpected(arguments.error());
  auto environment = take_strings(bytes, request.fields.envc);
  if (!environment) return tl::make_unexpected(environment.error());
  request.arguments = std::move(*arguments);
  request.environment = std::move(*environment);
  return request;
}

Caller::Caller(Loop& loop, Fd socket)
    : socket_(std::move(socket)), poll_(loop, socket_.get(), [this](int) { on_readable(); }) {}

void Caller::listen(Events events) {
  events_ = std::move(events);
  poll_.want(UV_READABLE);
}

Result<pid_t> Caller::pid() const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return os_error("SO_PEERCRED");
  if (peer.uid != ::geteuid()) return failure("the caller belongs to another user");
  return peer.pid;
}

void Caller::on_readable() {
  char buffer[64 << 10];
  auto got = receive_with_fds(socket_.get(), buffer);
  if (!got && got.error().code == std::errc::resource_unavailable_try_again) return;
  if (!got || got->bytes == 0) {
    poll_.want(0);
    return events_.gone();
  }
  in_.append(buffer, got->bytes);
  for (auto& fd : got->fds) fds_.push_back(std::move(fd));
  fds_lost_ |= got->lost;
  if (!take_messages()) {
    poll_.want(0);
    events_.gone();
  }
}

bool Caller::take_messages() {
  handover_header header;
  while (in_.size() >= sizeof header) {
    std::memcpy(&header, in_.data(), sizeof header);
    if (header.length > HANDOVER_MAX || fds_.size() > HANDOVER_DESCRIPTORS + 1) return false;
    if (in_.size() < sizeof header + header.length) {
      in_.reserve(sizeof header + header.length);
      return true;
    }
    const auto message = in_.substr(sizeof header, header.length);
    in_.erase(0, sizeof header + header.length);
    if (!take(header.kind, message)) return false;
  }
  return true;
}

namespace {

template <class T>
bool read_as(const std::string& message, T& value) {
  if (message.size() != sizeof value) return false;
  std::memcpy(&value, message.data(), sizeof value);
  return true;
}

}  // namespace

bool Caller::take(std::uint32_t kind, const std::string& message) {
  handover_signal signal;
  handover_window window;
  handover_kill kill;
  std::int32_t pid;
  if (kind == HANDOVER_RUN) {
    auto request = RunRequest::parse(message, std::exchange(fds_, {}), fds_lost_);
    if (request)
      events_.run(std::move(*request));
    else
      failed(request.error().text());
  } else if (kind == HANDOVER_SIGNAL && read_as(message, signal)) {
    events_.signal(signal);
  } else if (kind == HANDOVER_WITNESS && read_as(message, pid)) {
    events_.witness(pid);
  } else if (kind == HANDOVER_WINDOW && read_as(message, window)) {
    events_.window(window);
  } else if (kind == HANDOVER_FOREGROUND && read_as(message, pid)) {
    events_.foreground(pid != 0);
  } else if (kind == HANDOVER_HANGUP) {
    events_.hangup();
  } else if (kind == HANDOVER_KILL && read_as(message, kill)) {
    const std::int32_t error = events_.kill(kill) ? 0 : ESRCH;
    answer(HANDOVER_KILLED, {reinterpret_cast<const char*>(&error), sizeof error});
  } else {
    return false;
  }
  if (const auto waiting = std::exchange(modes_, std::nullopt)) modes(*waiting);
  return true;
}

// A guest may have us tell of modes and stops as often as it likes; what ends the conversation must still fit.
bool Caller::has_room() const {
  int unread = 0;
  return ::ioctl(socket_.get(), SIOCOUTQ, &unread) == 0 && unread < most_unread;
}

void Caller::answer(handover_kind kind, std::string_view body, const std::vector<int>& fds) {
  const handover_header header{static_cast<std::uint32_t>(kind), static_cast<std::uint32_t>(body.size())};
  std::string message(reinterpret_cast<const char*>(&header), sizeof header);
  message.append(body);
  if (const auto sent = send_with_fds(socket_.get(), message, fds); !sent)
    log::debug("answer to ssirun: {}", sent.error().text());  // it died; `gone` follows
}

void Caller::home(const std::string& reason, const std::vector<PassedFd>& descriptors) {
  std::vector<int> fds;
  for (const auto& passed : descriptors) fds.push_back(passed.fd.get());
  answer(HANDOVER_HOME, reason, fds);
}

void Caller::warn(const std::string& line) {
  answer(HANDOVER_WARNING, line);
}

void Caller::waiting(const std::string& line) {
  if (has_room()) answer(HANDOVER_WAITING, line);
}

void Caller::started(const std::string& guest) {
  answer(HANDOVER_STARTED, guest);
}

void Caller::exited(int wait_status, std::uint64_t taken, const std::string& typed_ahead,
                    const std::string& line) {
  const handover_exited fields{wait_status, static_cast<std::uint32_t>(typed_ahead.size()), taken};
  std::string body(reinterpret_cast<const char*>(&fields), sizeof fields);
  answer(HANDOVER_EXITED, body + typed_ahead + line);
}

void Caller::stopped(int number) {
  const std::int32_t body = number;
  if (has_room()) answer(HANDOVER_STOPPED, {reinterpret_cast<const char*>(&body), sizeof body});
}

void Caller::stderr_closed() {
  answer(HANDOVER_STDERR_CLOSED, {});
}

// Only the last ones count. One that does not read (it is stopped) gets them when it is heard of again.
void Caller::modes(const handover_modes& modes) {
  if (!has_room()) {
    modes_ = modes;
    return;
  }
  modes_.reset();
  answer(HANDOVER_MODES, {reinterpret_cast<const char*>(&modes), sizeof modes});
}

void Caller::failed(const std::string& line) {
  const std::int32_t status = 125;
  answer(HANDOVER_FAILED, std::string(reinterpret_cast<const char*>(&status), sizeof status) + line);
}

void Caller::placed(const std::string& line) {
  answer(HANDOVER_PLACED, line);
}

}  // namespace ssi
