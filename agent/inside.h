// SPDX-License-Identifier: LGPL-2.1-or-later
// What the agent's own processes say to each other, over SOCK_SEQPACKET pairs that only they hold:
//
//   parent    root of the guest. Accepts connections, forks the others, and parses nothing from the network.
//   reporter  speaks with the scheduler. No privileges.
//   home      one per session: TLS, frames, FUSE, streams of one home's jobs. No privileges.
//   stem      one per home: root of that home's user namespace only. Mounts the view, starts jobs.
//
// Packets are trivially copyable structs; the receiver checks sizes and clamps what it uses.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "common/wire.h"

namespace ssi::inside {

inline constexpr std::uint32_t max_groups = 256;
inline constexpr std::uint32_t max_path = 4096;
inline constexpr std::uint32_t max_ticket = 2048;
inline constexpr const char* view_path = "/view";  // where a stem keeps its home's tree

// Text in a packet: cut to its size, ended by NUL unless it fills it.
template <std::size_t size>
void set_text(char (&to)[size], std::string_view from) {
  std::memset(to, 0, size);
  std::memcpy(to, from.data(), from.size() < size ? from.size() : size);
}

template <std::size_t size>
std::string text_of(const char (&from)[size]) {
  return {from, ::strnlen(from, size)};
}

// Whose job it is, and what runs: for `ssi ps`.
struct JobNames {
  char user[33], home[65], command[65];
};

// --- home -> parent

struct ToParent {
  enum Kind : std::uint32_t {
    want_stem,    // this session is authenticated: make its stem. Answer: FromParent with the stem's socket
    job_started,  // for the reports: with its names
    job_ended,
    job_used,   // with what it uses now
    want_store  // the directory of this home's content store: `ticket` says whose it is. Answer: FromParent::store
  };
  Kind kind;
  std::uint64_t job;
  JobNames names;
  std::uint64_t cpu_us, memory;
  // want_stem: the user of the jobs. Where there is one id only it is to be this one.
  std::uint32_t uid = ~0U, gid = ~0U;
  char session[wire::session_size] = {};  // want_stem: by which later connections say that they are of this session
  // want_store: of a job of this home's (common/ticket.h), so that a home process that is broken into gets no other home's files.
  std::uint32_t ticket_size = 0;  // only so much is sent
  char ticket[max_ticket] = {};

  std::span<const char> bytes() const { return {reinterpret_cast<const char*>(this), offsetof(ToParent, ticket) + ticket_size}; }
  bool is_whole(std::size_t size) const {
    return size >= offsetof(ToParent, ticket) && ticket_size <= sizeof ticket && size == offsetof(ToParent, ticket) + ticket_size;
  }
};

// --- parent -> home, with a descriptor

struct FromParent {
  enum Kind : std::uint32_t {
    stem,       // the answer to want_stem
    connection,  // a peer says that it is of this session
    store        // the answer to want_store
  };
  Kind kind;
  std::int32_t error = 0;   // errno: then there is no descriptor
  std::uint64_t limit = 0;  // store: bytes that it may have
};

// --- parent -> reporter

struct JobsChanged {
  enum Kind : std::uint32_t { started, ended, used } kind;
  std::uint64_t job;
  JobNames names;                // started
  std::uint64_t cpu_us, memory;  // used
};

struct Draining {  // from now on, as the reports are to say
  std::uint32_t yes;
};

// --- reporter -> parent: what the scheduler wants

struct FromReporter {
  enum Kind : std::uint32_t {
    dialled,  // one descriptor comes along: a connection to a home that asked for it
    drain,    // answer: Draining
    resume,   // the same
    end_jobs  // all that run, as if this guest were lost
  };
  Kind kind;
  char session[wire::session_size] = {};  // dialled: that it is to resume; all 0: it begins one
};

// --- home -> stem

struct MountFs {  // answer: MountDone with the /dev/fuse descriptor
  std::uint32_t fs;
  char path[max_path];  // at home, absolute
  std::uint8_t read_only;
};

struct MountDone {
  std::uint32_t fs;
  std::int32_t error;
};

// Comes with: the job's control socket, a memfd with the spec (see agent/job_spec.h), then one end of a pipe for each
// descriptor of the spec that is an input or an output. What goes wrong from here on is told over the control socket.
struct StartJob {
  std::uint32_t uid, gid, group_count;
  std::uint32_t groups[max_groups];
  char hostname[65], domain[65];
  bool operator==(const StartJob&) const = default;
};

inline constexpr std::uint32_t max_call = 256;

struct LookAt {  // comes with the write end of a pipe, for the first max_call bytes of /proc/TASK/syscall
  std::int32_t task;
};

struct ToStem {
  enum Kind : std::uint32_t { mount_fs, start_job, look_at } kind;
  union {
    MountFs mount;
    StartJob start;
    LookAt look;
  };

  // What its kind needs: a page that is sent and received costs more than all else of it.
  std::size_t size() const {
    const auto fields = kind == mount_fs ? sizeof mount : kind == start_job ? sizeof start : sizeof look;
    return offsetof(ToStem, mount) + fields;
  }
  std::span<const char> bytes() const { return {reinterpret_cast<const char*>(this), size()}; }
  bool is_whole(std::size_t got) const { return got >= sizeof kind && got >= size(); }
};

// --- home -> the job's init (its pid 1), over the control socket. Closing it kills the job.

struct SendSignal {
  static constexpr std::int32_t quiet = -1;  // as `number`: nothing is fed to the terminal any more
  std::int32_t number;  // 0: `to` says whether the job has the foreground of its terminal
  std::uint8_t to;      // wire::Signal::To
};

// --- the job's init -> the view, ioctl(2) on a file that it opened: wire::Adopt with this token

// Opened with these two, which together do nothing for a file and can be taken away by F_SETFL, it is not cached.
inline constexpr int adopts = O_DIRECT | O_NONBLOCK;
inline constexpr unsigned long adopt = _IOW(0xb7, 1, std::uint64_t);

// --- the job's init -> home

struct FromInit {
  enum Kind : std::uint32_t {
    started,   // the program's execve succeeded
    failed,    // with `error`: nothing ran
    exited,    // the leader ended
    used,      // once a second: cpu_us and, as max_rss, the memory resident now, of all processes
    quiet,     // the leader ended, and what is typed must not come any more: answered by SendSignal::quiet
    terminal,  // before `started`; one descriptor comes along: the terminal's master
    stopped,   // the leader was stopped by the signal `wait_status`, or continued: SIGCONT
    position   // before `exited`: where the file that was opened as `fd` stands
  };
  Kind kind;
  std::int32_t error;  // errno
  std::int32_t wait_status;
  std::uint64_t cpu_us, max_rss;  // of the leader and what it waited for; bytes
  std::uint8_t survivors;         // other processes of the job live on
  std::uint32_t fd;
  std::uint64_t offset;
  std::uint16_t typed;     // exited: bytes of `typed_ahead`
  char typed_ahead[4096];  // what was typed at the terminal and not read; only so much of it is sent

  std::span<const char> bytes() const {
    return {reinterpret_cast<const char*>(this), offsetof(FromInit, typed_ahead) + typed};
  }
  bool is_whole(std::size_t size) const {
    return size >= offsetof(FromInit, typed_ahead) && size >= offsetof(FromInit, typed_ahead) + typed;
  }
};

}  // namespace ssi::inside
