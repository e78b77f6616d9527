// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/proxy_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "common/fd.h"

namespace ssi::proxy {

namespace {

using std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds(3);

struct Pipe {
  Fd read, write;
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) < 0) abort();
    read = Fd(ends[0]);
    write = Fd(ends[1]);
  }
};

std::string file(const char* name) {
  std::ifstream in(name);
  return {std::istreambuf_iterator<char>(in), {}};
}

long lines(const char* name) {
  const std::string text = file(name);
  return std::count(text.begin(), text.end(), '\n');
}

std::string bytes(const std::string& what) {
  return std::to_string(what.size()) + " bytes, hash " + std::to_string(std::hash<std::string>{}(what));
}

// The caller: it keeps all ends of the streams that are its own, also the reading one of stdin, as a shell with a list of
// commands does.
class Caller {
 public:
  Caller(const std::vector<Act>& acts, bool merged, const std::vector<std::string>& prefix,
         const std::string& child)
      : merged_(merged) {
    std::vector<std::string> words = prefix;
    words.push_back(child);
    for (const Act& act : acts)
      if (!act.child.empty()) words.push_back(act.child);
    start(words);
  }

  void play(const std::vector<Act>& acts) {
    wait("the start", [] { return lines("trace") > 0 && lines("member") > 0; });
    for (const Act& act : acts) {
      if (late_) break;
      step(act);
      if (act.last) break;
    }
    finish();
  }

  std::string told() {
    std::ostringstream out;
    out << "trace:\n" << file("trace") << "member:\n" << heard() << "caller:\n" << said_.str();
    out << "stdout: " << bytes(output_[0]) << "\nstderr: " << bytes(output_[1])
        << "\nleft in stdin: " << left_ << '\n';
    return out.str();
  }

 private:
  bool merged_, late_ = false, dies_with_the_group_ = false;
  pid_t pid_ = -1;
  Pipe stdin_;
  std::array<Pipe, 2> streams_;
  std::array<std::string, 2> output_;
  std::string to_write_;
  std::ostringstream said_;
  long answers_ = 1;         // lines of the trace that must be there
  long heard_ = 1;           // and of the member's
  std::size_t written_ = 0;  // by the child, to both streams
  int left_ = 0;

  void start(const std::vector<std::string>& words) {
    unlink("trace");
    unlink("member");
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      const rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      signal(SIGPIPE, SIG_DFL);
      dup2(stdin_.read.get(), 0);
      dup2(streams_[0].write.get(), 1);
      dup2(streams_[merged_ ? 0 : 1].write.get(), 2);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    setpgid(pid_, pid_);
    fcntl(stdin_.write.get(), F_SETFL, O_NONBLOCK);
    for (Pipe& stream : streams_) {
      stream.write.reset();
      fcntl(stream.read.get(), F_SETFL, O_NONBLOCK);
    }
  }

  // Feeds and drains for about a millisecond.
  void pump() {
    std::array<pollfd, 3> wanted{pollfd{streams_[0].read.get(), POLLIN, 0},
                                 pollfd{streams_[1].read.get(), POLLIN, 0},
                                 pollfd{to_write_.empty() ? -1 : stdin_.write.get(), POLLOUT, 0}};
    poll(wanted.data(), wanted.size(), 1);
    for (std::size_t i = 0; i < 2; ++i) {
      if (!wanted[i].revents) continue;
      std::array<char, 65536> chunk;
      const ssize_t got = read(wanted[i].fd, chunk.data(), chunk.size());
      if (got > 0) output_[i].append(chunk.data(), static_cast<std::size_t>(got));
      if (got == 0) streams_[i].read.reset();
    }
    if (wanted[2].revents) {
      const ssize_t put = write(stdin_.write.get(), to_write_.data(), to_write_.size());
      if (put > 0) to_write_.erase(0, static_cast<std::size_t>(put));
    }
  }

  bool gone() const {
    siginfo_t seen{};
    return waitid(P_PID, static_cast<id_t>(pid_), &seen, WEXITED | WNOHANG | WNOWAIT) < 0 ||
           seen.si_pid == pid_;
  }

  void wait(const char* what, const std::function<bool()>& is_so) {
    for (const auto deadline = steady_clock::now() + patience;; pump()) {
      const bool ended = gone();  // asked first: what it did before it ended still counts
      if (is_so()) return;
      if (!ended && steady_clock::now() < deadline) continue;
      said_ << (ended ? "ended before " : "waited in vain for ") << what << '\n';
      late_ = true;
      return;
    }
  }

  void wait_answers() {
    wait("an answer", [this] { return lines("trace") >= answers_ && lines("member") >= heard_; });
  }

  // The next stop, continuation or end that waitid tells of.
  void wait_change(int which, const char* what) {
    siginfo_t seen{};
    wait(what, [&] {
      return waitid(P_PID, static_cast<id_t>(pid_), &seen, which | WNOHANG) == 0 && seen.si_pid == pid_;
    });
    if (!late_) said_ << what << ' ' << seen.si_code << ' ' << seen.si_status << '\n';
  }

  void send(int number, bool to_group) { kill(to_group ? -pid_ : pid_, number); }

  void step(const Act& act) {
    using What = Act::What;
    const bool to_group = act.what == What::group_signal || act.what == What::halt_group;
    switch (act.what) {
      case What::await_bytes:
        written_ += static_cast<std::size_t>(act.number);
        wait("output", [this] { return output_[0].size() + output_[1].size() >= written_; });
        break;
      case What::nothing:
        break;
      case What::write:
        for (int i = 0; i < act.number; ++i) to_write_ += static_cast<char>(i * 31 + act.number);
        if (act.child.empty()) wait("room in stdin", [this] { return to_write_.empty(); });
        break;
      case What::close_stdin:
        wait("room in stdin", [this] { return to_write_.empty(); });
        stdin_.write.reset();
        break;
      case What::close_reader:
        streams_[static_cast<std::size_t>(act.number - 1)].read.reset();
        break;
      case What::await_end:
        wait("the end of a stream", [&] { return !streams_[static_cast<std::size_t>(act.number - 1)].read; });
        break;
      case What::signal:
      case What::group_signal:
        send(act.number, to_group);
        break;
      case What::stopped:
        halt(0, false);
        break;
      case What::halt:
      case What::halt_group:
        halt(act.number, to_group);
        break;
      case What::sleep:
        std::this_thread::sleep_for(std::chrono::milliseconds(act.number));
        break;
    }
    if (to_group && act.what == What::group_signal && act.number) expect_heard(act);
    if (act.barrier) barrier(to_group);
    if (act.last || act.child.empty()) return;
    ++answers_;
    wait_answers();
    // The child may have read what was there before.
    if (act.what == What::write) wait("room in stdin", [this] { return to_write_.empty(); });
  }

  void halt(int number, bool to_group) {
    if (number) send(number, to_group);
    wait_change(WSTOPPED, "stopped");
    send(SIGCONT, to_group);
    wait_change(WCONTINUED, "continued");
  }

  // The member's trace. When the child dies by a signal to the group, the member may or may not have come to note it.
  std::string heard() const {
    std::string text = file("member");
    std::size_t end = 0;
    for (long line = 0; dies_with_the_group_ && line < heard_; ++line) end = text.find('\n', end) + 1;
    return dies_with_the_group_ ? text.substr(0, end) : text;
  }

  // The other process of the group hears all that is sent to the group.
  void expect_heard(const Act& act) {
    dies_with_the_group_ = act.last;
    if (act.last) return;
    ++heard_;
    wait("the group", [this] { return lines("member") >= heard_; });
  }

  void barrier(bool to_group) {
    send(SIGUSR2, to_group);
    if (to_group) ++heard_;
  }

  void finish() {
    if (!late_) wait_change(WEXITED, "ended");
    if (late_) {
      kill(pid_, SIGKILL);
      kill(-pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    const auto deadline = steady_clock::now() + patience;
    while ((streams_[0].read || streams_[1].read) && steady_clock::now() < deadline) pump();
    if (streams_[0].read || streams_[1].read) said_ << "a stream stays open\n";
    fcntl(stdin_.read.get(), F_SETFL, O_NONBLOCK);
    std::array<char, 65536> chunk;
    for (ssize_t got; (got = read(stdin_.read.get(), chunk.data(), chunk.size())) > 0;)
      left_ += static_cast<int>(got);
  }
};

}  // namespace

std::string run(const Sequence& sequence, const std::vector<std::string>& prefix, const std::string& child) {
  const std::vector<Act> acts = definite(sequence);
  Caller caller(acts, sequence.merged, prefix, child);
  caller.play(acts);
  return caller.told();
}

}  // namespace ssi::proxy
