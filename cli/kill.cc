// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/kill.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <csignal>
#include <cstring>

#include "cli/options.h"
#include "common/fd.h"
#include "common/handover.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr timeval patience{5, 0};  // a deputy that hangs must not make us hang

template <class T>
bool parse(const std::string& text, T& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

// Without a deputy there is no job.
Result<Fd> connect_deputy() {
  const auto directory = paths::runtime_dir();
  if (!directory) return tl::make_unexpected(directory.error());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = *directory + "/" + HANDOVER_SOCKET;
  if (path.size() >= sizeof address.sun_path) return os_error("connect " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd link(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!link || ::connect(link.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return os_error("connect " + path);
  ::setsockopt(link.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return link;
}

// The deputy's errno.
Result<int> ask(int link, const handover_kill& question) {
  const struct {
    handover_header header;
    handover_kill body;
  } message{{HANDOVER_KILL, sizeof message.body}, question};
  if (::send(link, &message, sizeof message, MSG_NOSIGNAL) != sizeof message)
    return os_error("ask the deputy");
  struct {
    handover_header header;
    std::int32_t error;
  } answer{};
  const auto got = ::recv(link, &answer, sizeof answer, MSG_WAITALL);
  if (got < 0) return os_error("wait for the deputy");
  if (got != sizeof answer || answer.header.kind != HANDOVER_KILLED)
    return failure("the deputy is of another version; end it (pkill ssi-deputy) and try again");
  return answer.error;
}

}  // namespace

int signal_number(const std::string& text) {
  int number = 0;
  if (parse(text, number)) return number > 0 && number < NSIG ? number : 0;
  const auto name = text.starts_with("SIG") ? text.substr(3) : text;
  if (name.starts_with("RTMIN")) {
    const auto rest = name.substr(5);
    if (rest.empty()) return SIGRTMIN;
    return rest[0] == '+' && parse(rest.substr(1), number) && SIGRTMIN + number <= SIGRTMAX
               ? SIGRTMIN + number
               : 0;
  }
  for (number = 1; number < NSIG; ++number)
    if (const char* known = ::sigabbrev_np(number); known && name == known) return number;
  return 0;
}

int kill_command(int argc, char** argv) {
  int number = SIGTERM;
  Options options(
      "ssi kill",
      "usage: ssi kill JOB [-s SIG]\n"
      "Sends a signal to the process group of a job of yours that runs in a guest; `ssi ps` lists them.\n"
      "  -s, --signal SIG   TERM when not given; a name or a number\n");
  options.value(
      "signal", [&](const std::string& text) { return (number = signal_number(text)) != 0; }, 's');
  if (auto status = options.parse(argc, argv)) return *status;
  handover_kill question{0, number, 0};
  if (options.words().size() != 1) return options.usage_error("which job?");
  const auto& word = options.words()[0];
  if (!parse(word, question.job)) return options.usage_error(fmt::format("'{}' is not a job's number", word));
  const auto unknown = fmt::format("no job {} of yours runs in a guest; `ssi ps` lists those that do", word);
  const auto link = connect_deputy();
  if (!link && (link.error().code == std::errc::no_such_file_or_directory ||
                link.error().code == std::errc::connection_refused))
    return options.failed(unknown);
  if (!link) return options.failed(link.error().text());
  const auto error = ask(link->get(), question);
  if (!error) return options.failed(error.error().text());
  return *error == 0 ? 0 : options.failed(unknown);
}

}  // namespace ssi
