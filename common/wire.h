// SPDX-License-Identifier: LGPL-2.1-or-later
// Every message that ssi's parts exchange over a network, and nothing else: this header is the specification.
//
//   Control  over ZeroMQ: agents and deputies (DEALER) <-> scheduler (ROUTER). One frame, [kind, fields].
//   Frame    over a session (common/session.h): the kind travels in the frame's header, the fields as msgpack
//            metadata, bulk bytes as the frame's raw body.
//
// Rules: append fields at the end, with a default; append kinds at the end of a variant. Anything else raises
// `version`. A field that a newer peer appended is ignored, one that an older peer lacks keeps its default.
// decode() never throws and never trusts the peer's sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/result.h"

// The fields of a message, in their order. How they become msgpack is in common/wire_msgpack.h, which few files need to
// include: compiled in each one (MSGPACK_DEFINE), it took half of the time of a build.
#define SSI_FIELDS(...)                              \
  template <class Visit>                             \
  decltype(auto) visit_fields(Visit&& visit) {       \
    return visit(__VA_ARGS__);                       \
  }                                                  \
  template <class Visit>                             \
  decltype(auto) visit_fields(Visit&& visit) const { \
    return visit(__VA_ARGS__);                       \
  }

namespace ssi::wire {

inline constexpr std::uint32_t version = 1;
inline constexpr std::size_t max_control = 1 << 20;  // bytes of one control message
inline constexpr std::size_t max_body = 128 << 10;   // bytes of one frame's body
inline constexpr std::size_t max_meta = 256 << 10;   // bytes of one frame's metadata
inline constexpr std::size_t max_page = 512;         // entries of one DirPage

using Bytes = std::string;  // raw bytes: keys, signatures, file names (not necessarily UTF-8)

// ---------------------------------------------------------------------------------------------- control plane

// A job as the guest that runs it sees it.
struct JobUse {
  std::uint64_t job = 0;
  std::string user, home;  // as its ticket and its home's Hello name them
  std::string command;     // basename
  std::uint64_t cpu_us = 0;
  std::uint64_t memory = 0;  // bytes resident now, of all its processes
  double seconds = 0;        // since it was started
  SSI_FIELDS(job, user, home, command, cpu_us, memory, seconds)
};

// agent -> scheduler, on change and at least every 500 ms. `key` must be the one whose CURVE half authenticated
// the connection. The guest's name is the one under which its key was admitted, whatever `name` says.
struct Report {
  std::uint32_t version = wire::version;
  std::string name;
  Bytes key;               // Ed25519 public key, 32 bytes
  std::string address;     // HOST:PORT where the agent takes sessions
  std::uint64_t boot = 0;  // chosen at start: another value is another life of the agent
  std::uint64_t sequence = 0;
  std::uint32_t cpus = 0;
  double speed = 0;            // of one processor, 1.0 = 1e9 steps/s of common/speed.cc's loop
  double busy = 0;             // processors in use, mean of the last half second
  std::uint32_t runnable = 0;  // length of the run queue
  double steal = 0;            // share of processor time taken by the host, 0..1
  std::uint64_t memory_total = 0, memory_free = 0;  // bytes
  double pressure_cpu = -1, pressure_memory = -1;   // PSI "some avg10" in percent, -1 where there is none
  std::vector<std::uint64_t> jobs;                  // ids of the jobs that run there
  std::vector<JobUse> used;                         // of the same jobs
  std::uint8_t dials_out = 0;  // 1: `address` is empty, it connects to homes that ask for it (Callback)
  std::uint8_t draining = 0;   // 1: it takes no new jobs: it was told so (Drain), or it is ending
  std::uint64_t epoch = 0;     // the highest that a scheduler has told it (ReportTaken)
  SSI_FIELDS(version, name, key, address, boot, sequence, cpus, speed, busy, runnable, steal, memory_total,
             memory_free, pressure_cpu, pressure_memory, jobs, used, dials_out, draining, epoch)
};

// scheduler -> agent: the report arrived; `epoch` fences sessions of an earlier life.
struct ReportTaken {
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;
  SSI_FIELDS(sequence, epoch)
};

// deputy -> scheduler: where should this job run?
struct Place {
  std::uint32_t version = wire::version;
  std::uint64_t request = 0;    // echoed in every answer
  std::string user;             // login name at home, for people
  std::string home;             // host name of the home
  Bytes home_key;               // Ed25519 public key of the deputy
  std::string command;          // basename, for `ssi ps`
  std::string guest;            // this guest or none; empty: any
  bool never_home = false;      // --remote, --on
  bool may_wait = false;        // --wait: answer `wait` rather than share a busy machine
  std::uint32_t cpus = 0;       // processors the job can use, 0: as many as there are
  std::uint64_t memory = 0;     // bytes it needs, 0: unknown
  double cpu_seconds = 0;       // predicted work in seconds of a speed-1.0 processor, 0: unknown
  std::uint32_t home_cpus = 0;  // the home as one of the machines
  double home_speed = 0, home_busy = 0;
  std::uint8_t can_be_called = 0;  // 1: guests that dial out can reach this home
  std::vector<std::string> avoid;  // not these guests: they have failed it
  std::uint64_t waited_ms = 0;     // that it waited before, at another scheduler or another life of this one
  SSI_FIELDS(version, request, user, home, home_key, command, guest, never_home, may_wait, cpus, memory,
             cpu_seconds, home_cpus, home_speed, home_busy, can_be_called, avoid, waited_ms)
};

// scheduler -> deputy, at once: the request arrived. Without it within 300 ms the deputy stops waiting.
struct PlaceTaken {
  std::uint64_t request = 0;
  SSI_FIELDS(request)
};

enum class Verdict : std::uint8_t { guest = 0, home = 1, wait = 2, refused = 3 };

// scheduler -> deputy: the answer. After `wait` another Placed follows when a guest is free.
struct Placed {
  std::uint64_t request = 0;
  std::uint8_t verdict = 0;  // Verdict; decode() refuses others
  std::string reason;        // one line: "guest2 is expected to end first (2.0 of 4 processors free)"
  std::uint64_t job = 0;     // below: only with Verdict::guest
  std::string guest;
  std::string address;
  Bytes guest_key;
  std::uint64_t epoch = 0;
  Bytes ticket;                // see common/ticket.h
  std::uint8_t dials_out = 0;  // 1: ask for it by Callback, unless a session with this guest is open
  double speed = 0;            // of one of the guest's processors, as it reports it
  std::uint32_t before = 0;    // with Verdict::wait: how many wait before it
  SSI_FIELDS(request, verdict, reason, job, guest, address, guest_key, epoch, ticket, dials_out, speed,
             before)
};

// scheduler -> deputy, after Verdict::wait, when the number has changed: how many wait before it.
struct Queued {
  std::uint64_t request = 0;
  std::uint32_t before = 0;
  SSI_FIELDS(request, before)
};

// deputy -> scheduler: a placed job has ended, or never started; its reservation is over.
struct JobEnded {
  std::uint64_t job = 0;
  double cpu_seconds = 0;
  std::uint64_t request = 0;  // with job 0: of a Place that nobody waits for any more
  SSI_FIELDS(job, cpu_seconds, request)
};

struct HeldJob {
  std::uint64_t job = 0;
  Bytes guest_key;  // where it is placed
  std::uint32_t cpus = 0;
  std::uint64_t memory = 0;  // as in Place
  SSI_FIELDS(job, guest_key, cpus, memory)
};

// deputy -> scheduler, which may not know it: jobs of this home that another scheduler, or another life of this one, has
// placed, and that have not ended.
struct Holding {
  std::vector<HeldJob> jobs;
  SSI_FIELDS(jobs)
};

struct StatusRequest {
  std::uint64_t request = 0;
  SSI_FIELDS(request)
};

struct GuestStatus {
  std::string name, state;  // state: "up", "draining", or "gone" for 60 s after the last report
  Bytes key;
  std::string address;
  std::uint32_t cpus = 0;
  double speed = 0, load = 0, steal = 0;            // load: processors in use
  std::uint64_t memory_total = 0, memory_free = 0;  // bytes
  std::vector<std::uint64_t> jobs;
  std::uint32_t version = 0;
  double silent = 0;           // seconds since the last report
  std::uint32_t promised = 0;  // jobs that were placed there and that it does not list yet
  SSI_FIELDS(name, state, key, address, cpus, speed, load, steal, memory_total, memory_free, jobs, version,
             silent, promised)
};

struct StatusReply {
  std::uint64_t request = 0;
  std::vector<GuestStatus> guests;
  SSI_FIELDS(request, guests)
};

// scheduler -> anyone: the request (0: whatever came last) cannot be served; one line says why.
struct Refused {
  std::uint64_t request = 0;
  std::string reason;
  SSI_FIELDS(request, reason)
};

// --- joining. agent -> scheduler, first on every connection, and again with back-off until it is admitted. The key is
// the connection's; it may be unknown here.
struct Join {
  std::uint32_t version = wire::version;
  std::string name;   // that the guest would like to have
  Bytes key;          // Ed25519 public key, 32 bytes
  std::string uuid;   // of its Xen domain; empty: it is none
  std::string token;  // of enrolment; empty: it waits for an administrator
  SSI_FIELDS(version, name, key, uuid, token)
};

enum class Joining : std::uint8_t { admitted = 0, pending = 1, refused = 2 };

// scheduler -> agent: the answer to Join.
struct Joined {
  std::uint8_t state = 0;  // Joining; decode() refuses others
  std::string name;        // admitted: what it is called from now on
  std::string reason;      // else: one line for the guest's console
  SSI_FIELDS(state, name, reason)
};

inline constexpr std::size_t rendezvous_size = 16;  // bytes

// deputy -> scheduler: have this guest, where a job of ours is placed, connect to us.
struct Callback {
  std::uint64_t job = 0;
  std::string address;  // HOST:PORT of this home, as guests reach it
  Bytes rendezvous;     // 16 random bytes by which we know the connection; they prove nothing
  Bytes session;        // to be resumed by it; empty: a new one
  SSI_FIELDS(job, address, rendezvous, session)
};

// scheduler -> agent: connect to this home, write the 16 bytes of `rendezvous`, go on as if it had connected.
struct Dial {
  std::string address;
  Bytes rendezvous;
  Bytes session;  // of ours, to be resumed by it; empty: a new one
  SSI_FIELDS(address, rendezvous, session)
};

// --- administration. Only keys admitted as "admin" may ask, but for GuestsRequest.

struct GuestsRequest {
  std::uint64_t request = 0;
  SSI_FIELDS(request)
};

struct GuestEntry {
  std::string name;
  std::string state;  // "up", "draining", "gone", "absent" (admitted, not heard of), "pending", "refused" or "revoked"
  Bytes key;
  std::string address;  // where it takes sessions; empty: it is not admitted, or dials out
  std::string uuid;     // of its Xen domain
  std::string reason;   // why it is refused, or what it waits for; one line
  double silent = -1;   // seconds since it was last heard of; -1: not in this life of the scheduler
  SSI_FIELDS(name, state, key, address, uuid, reason, silent)
};

struct GuestsReply {
  std::uint64_t request = 0;
  std::vector<GuestEntry> guests;
  SSI_FIELDS(request, guests)
};

// Admits the pending guest `who` (fingerprint, whole key, or name), or takes an admission back.
struct Admit {
  std::uint64_t request = 0;
  std::string who;
  std::uint8_t revoke = 0;
  SSI_FIELDS(request, who, revoke)
};

struct Admitted {
  std::uint64_t request = 0;
  std::string name;
  SSI_FIELDS(request, name)
};

struct TokenRequest {
  std::uint64_t request = 0;
  std::uint32_t seconds = 0;  // for how long it admits guests
  SSI_FIELDS(request, seconds)
};

struct TokenReply {
  std::uint64_t request = 0;
  std::string token;
  SSI_FIELDS(request, token)
};

// deputy -> scheduler: what runs in the pool? Answered for every user's jobs; guests are refused.
struct JobsRequest {
  std::uint64_t request = 0;
  SSI_FIELDS(request)
};

struct JobStatus {
  std::string guest;
  JobUse use;
  SSI_FIELDS(guest, use)
};

struct JobsReply {
  std::uint64_t request = 0;
  std::vector<JobStatus> jobs;
  SSI_FIELDS(request, jobs)
};

// An administrator -> scheduler -> agent: the guest takes no new jobs, and those that run end by themselves; or it takes
// jobs again. The agent remembers it and says so in its reports; the scheduler repeats it until they do.
struct Drain {
  std::uint64_t request = 0;
  std::string guest;        // its name
  std::uint8_t resume = 0;  // 1: it takes jobs again
  std::uint8_t now = 0;     // 1: the sessions with its jobs end too: for their homes it is lost
  SSI_FIELDS(request, guest, resume, now)
};

// scheduler -> administrator: no job is placed there any more (or again some are).
struct Drained {
  std::uint64_t request = 0;
  SSI_FIELDS(request)
};

using Control = std::variant<Report, ReportTaken, Place, PlaceTaken, Placed, JobEnded, StatusRequest,
                             StatusReply, Refused, Join, Joined, Callback, Dial, GuestsRequest, GuestsReply,
                             Admit, Admitted, TokenRequest, TokenReply, JobsRequest, JobsReply, Drain,
                             Drained, Queued, Holding>;

Bytes encode(const Control& message);
Result<Control> decode_control(std::string_view frame);

// ------------------------------------------------------------------------------------------------- data plane
//
// A struct with a `Reply` is a request: the peer answers with a frame of the same id that has flag `reply`, whose
// kind is 0 or an errno, and whose metadata is the Reply. Others are one-way.

struct None {
  SSI_FIELDS()
};

// Who, in the guest, asks: ids as at home. Supplementary groups are those of home's user database, unless the agent says
// them: it does when home has refused with EACCES or EPERM, since the task may have others (setgroups(2)).
struct Caller {
  std::uint32_t uid = 0, gid = 0;
  std::uint8_t has_groups = 0;
  std::vector<std::uint32_t> groups{};
  std::uint64_t job = 0;  // of which the task is; 0: that is not known, or the only one
  SSI_FIELDS(uid, gid, has_groups, groups, job)
};

// --- the session

// What home writes before TLS on a connection by which a session is to be resumed: this byte, which no TLS record begins with,
// and the 16 of Welcome::session.
inline constexpr char resume_mark = 'R';
inline constexpr std::size_t session_size = 16;

struct Welcome {
  std::uint32_t version = 0;
  std::string guest;
  Bytes session;  // 16 random bytes: with these it can be resumed; empty: it cannot
  SSI_FIELDS(version, guest, session)
};

// deputy -> agent, first frame. `ticket` admits this home key to this guest.
struct Hello {
  using Reply = Welcome;
  std::uint32_t version = wire::version;
  Bytes ticket;
  std::uint64_t epoch = 0;
  std::string home;    // host name
  std::string domain;  // domain name of uname(2)
  // Of all jobs of this session: what an agent without root maps its one id to.
  std::uint32_t uid = no_id, gid = no_id;
  static constexpr std::uint32_t no_id = ~0U;
  std::uint64_t grace_ms = 0;  // for how long a session without a connection is kept
  SSI_FIELDS(version, ticket, epoch, home, domain, uid, gid, grace_ms)
};

// Frames up to this stream position have been taken; the sender need not keep them.
struct Taken {
  std::uint64_t position = 0;
  SSI_FIELDS(position)
};

// The first frame of a later connection of a session, from home, and the guest's answer; neither has a position. The sender
// then sends again what stands behind the position that the other one says.
struct Resume {
  Bytes session;              // 16 bytes, of Welcome; empty, as an answer: the guest has no such session
  std::uint64_t attempt = 0;  // counted by home: an earlier one that arrives later is not taken
  std::uint64_t received = 0;  // the position up to which the sender has all frames
  SSI_FIELDS(session, attempt, received)
};

// The session is over, and will not be resumed. Without a position; also the first frame of a connection that was made to say so.
struct Over {
  Bytes session;
  SSI_FIELDS(session)
};

// deputy -> agent: from now on the session is kept for so long without a connection (Hello::grace_ms before).
struct Grace {
  std::uint64_t ms = 0;
  SSI_FIELDS(ms)
};

struct Ping {
  using Reply = None;
  SSI_FIELDS()
};

// --- jobs: deputy -> agent unless said otherwise

struct Limit {  // rlim_t; RLIM_INFINITY as it is
  std::uint64_t soft = 0, hard = 0;
  SSI_FIELDS(soft, hard)
};

// A piece (the body) of the job's argv or environment, strings ended by NUL. Precedes Start.
struct SpecPart {
  std::uint64_t job = 0;
  std::uint8_t environment = 0;  // 0: argv, 1: environment
  SSI_FIELDS(job, environment)
};

// What a descriptor of the job's is in the guest.
enum class DescriptorKind : std::uint8_t {
  input = 0,    // a pipe that the job reads: stream `fd`, from home
  output = 1,   // a pipe that the job writes: stream `fd`, to home
  same_as = 2,  // another number for the description of `of`, which stands before it
  device = 3,   // /dev/`path` of the guest: null, zero, full, random, urandom
  file = 4,     // the regular file or (O_DIRECTORY) directory `path` of the view
  terminal = 5  // the job's terminal: Start::terminal
};

struct Descriptor {
  std::uint32_t fd = 0;  // input and output: below Data::terminal
  std::uint8_t kind = 0;
  std::uint32_t of = 0;
  std::uint32_t flags = 0;  // as open(2): access mode and status flags
  Bytes path;
  std::uint64_t offset = 0;  // file: where its description stands
  std::uint64_t node = 0;    // file: the inode number that `path` must lead to
  std::uint64_t token = 0;   // file: for Adopt; 0: the offset is the guest's own
  SSI_FIELDS(fd, kind, of, flags, path, offset, node, token)
};

// A terminal's modes: struct termios, Linux's numbers (<asm-generic/termbits.h>).
struct Modes {
  std::uint32_t input = 0, output = 0, control = 0, local = 0;
  Bytes characters;  // c_cc
  SSI_FIELDS(input, output, control, local, characters)
};

struct WindowSize {
  std::uint16_t rows = 0, columns = 0, x_pixels = 0, y_pixels = 0;
  SSI_FIELDS(rows, columns, x_pixels, y_pixels)
};

struct Started {
  SSI_FIELDS()
};

// Run it. A reply with an errno means that nothing was done: path is not there, not executable, ….
// A file that home has opened for the job's execve(2), under a handle of its own. Who uses it says so by Opened, before
// Started; what was not used by then is closed again.
inline constexpr std::uint64_t homes_handles = std::uint64_t{1} << 63;

struct Lent {
  std::uint64_t node = 0, handle = 0;
  SSI_FIELDS(node, handle)
};

struct Start {
  using Reply = Started;
  std::uint64_t job = 0;
  Bytes ticket;
  Bytes path;  // to exec, as the caller named it (may be relative to cwd)
  Bytes cwd;
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> groups;
  std::uint32_t umask = 022;
  std::int32_t nice = 0;
  std::vector<Limit> limits;               // indexed by RLIMIT_*
  std::uint64_t blocked = 0, ignored = 0;  // signal sets, bit n-1 for signal n
  std::vector<Descriptor> descriptors;     // ascending; all others are closed
  std::uint8_t group_leader = 1;           // of a process group, as the caller is
  Modes terminal;                          // with a descriptor of that kind: as home's
  WindowSize window;
  std::uint8_t background = 0;  // as said by Foreground
  std::vector<Lent> lent;
  SSI_FIELDS(job, ticket, path, cwd, uid, gid, groups, umask, nice, limits, blocked, ignored, descriptors,
             group_leader, terminal, window, background, lent)
};

// Bytes (the body) of one of the job's streams: the number of its descriptor, or `terminal`, which goes both ways. The
// sender may have `window` bytes unacknowledged.
struct Data {
  static constexpr std::uint32_t window = 1 << 20;
  static constexpr std::uint8_t terminal = 255;
  std::uint64_t job = 0;
  std::uint8_t stream = 0;
  SSI_FIELDS(job, stream)
};

// The receiver of Data has passed `bytes` on.
struct Credit {
  std::uint64_t job = 0;
  std::uint8_t stream = 0;
  std::uint32_t bytes = 0;
  SSI_FIELDS(job, stream, bytes)
};

// From the sender of Data: end of file. From its receiver: nobody reads any more (SIGPIPE, EPIPE).
struct End {
  std::uint64_t job = 0;
  std::uint8_t stream = 0;
  SSI_FIELDS(job, stream)
};

struct Signal {
  enum To : std::uint8_t {
    leader = 0,
    group = 1,  // the leader's process group
    foreground =
        2  // the terminal's foreground process group, as if its key had been pressed; SIGHUP: it is gone
  };
  std::uint64_t job = 0;
  std::int32_t number = 0;
  std::uint8_t to = group;
  SSI_FIELDS(job, number, to)
};

// The terminal has another size: SIGWINCH to its foreground process group.
struct Resize {
  std::uint64_t job = 0;
  WindowSize window;
  SSI_FIELDS(job, window)
};

struct Kill {  // the whole job, now
  std::uint64_t job = 0;
  SSI_FIELDS(job)
};

// Where the job left a descriptor: an input's bytes read, a file's offset; of Data::terminal the bytes that reached it.
struct Position {
  std::uint32_t fd = 0;
  std::uint64_t value = 0;
  SSI_FIELDS(fd, value)
};

struct StreamRecord {
  std::uint8_t stream = 0;
  std::uint64_t bytes = 0;
  Bytes digest;  // common/stream_sum.h
  SSI_FIELDS(stream, bytes, digest)
};

// agent -> deputy, behind all output that the job wrote before its leader ended.
struct Exited {
  std::uint64_t job = 0;
  std::int32_t wait_status = 0;     // as wait(2) gives it
  std::uint64_t cpu_us = 0;         // user and system, with waited-for children
  std::uint64_t max_rss = 0;        // bytes
  std::vector<Position> positions;  // of inputs and files
  std::uint8_t survivors = 1;       // other processes of the job live on: Gone follows some time
  Bytes typed_ahead;                // what was typed at the terminal and the job left unread
  Bytes spoiled;  // a file that home refused to write when no call of the job's waited any more; empty: none
  std::int32_t spoiled_by = 0;  // with that errno
  std::vector<StreamRecord> outputs;  // what the job has said, when nothing of it survives: all of that must be home
  std::uint8_t out_of_memory = 0;     // 1: the guest's kernel killed it for want of memory
  std::uint8_t unseen = 0;  // 1: nobody saw how it ended; it was killed, and its init with it
  std::uint64_t asked = 0, known = 0;  // its file requests: that home answered, and that the agent did
  std::uint64_t waited_us = 0;         // that its tasks waited for the former, all together
  SSI_FIELDS(job, wait_status, cpu_us, max_rss, positions, survivors, typed_ahead, spoiled, spoiled_by, outputs,
             out_of_memory, unseen, asked, known, waited_us)
};

// The job has, or has not, the foreground of its terminal: as its caller has at home. Who reads in the background is stopped.
struct Foreground {
  std::uint64_t job = 0;
  std::uint8_t yes = 1;
  SSI_FIELDS(job, yes)
};

// agent -> deputy: of an input, how many of its bytes the job has read by now.
struct Consumed {
  std::uint64_t job = 0;
  std::uint8_t stream = 0;
  std::uint64_t bytes = 0;  // since the job's start
  SSI_FIELDS(job, stream, bytes)
};

// agent -> deputy: the job's leader was stopped, or continued, by `number`.
struct Stopped {
  std::uint64_t job = 0;
  std::int32_t number = 0;  // SIGCONT: it goes on
  SSI_FIELDS(job, number)
};

// agent -> deputy, in the order of the terminal's Data: the job has set other modes.
struct ModesChanged {
  std::uint64_t job = 0;
  Modes modes;
  SSI_FIELDS(job, modes)
};

// agent -> deputy: the job wants what only home has; the process that asked waits. `reason`: "opens the FIFO p".
struct NeedsHome {
  std::uint64_t job = 0;
  std::string reason;
  SSI_FIELDS(job, reason)
};

// agent -> deputy: a line for the job's user: "the set-user-ID bit of /usr/bin/sudo has no effect in a guest".
struct Remark {
  std::uint64_t job = 0;
  std::string text;
  SSI_FIELDS(job, text)
};

// agent -> deputy, last of a job that was started: none of its processes is left (children can outlive the leader).
struct Gone {
  std::uint64_t job = 0;
  SSI_FIELDS(job)
};

// --- the view. deputy -> agent:

struct Mount {
  std::uint32_t fs = 0;    // number of this home file system in this session
  Bytes path;              // where it is mounted at home
  std::uint64_t root = 0;  // node of its root
  std::uint8_t read_only = 0;
  // The same in all sessions, and of no other file system; 0: none that could be relied on. With it the attributes of a file tell its
  // content: there no content changes without its ctime.
  std::uint64_t identity = 0;
  SSI_FIELDS(fs, path, root, read_only, identity)
};

// Home's file systems, parents before children. Sent before the first Start, and what came since before a later one.
struct Mounts {
  std::vector<Mount> mounts;
  SSI_FIELDS(mounts)
};

struct Name {
  std::uint64_t parent = 0;
  Bytes name;
  SSI_FIELDS(parent, name)
};

// Forget what is cached of these: attributes and content of nodes, and names (also negative ones). An empty name: whatever was
// concluded from the end of a List.
struct Invalidate {
  std::vector<std::uint64_t> nodes;
  std::vector<Name> names;
  SSI_FIELDS(nodes, names)
};

// --- the view. agent -> deputy: requests that mirror the FUSE operations.
//
// A node is a number that the deputy gave in an Entry; the deputy counts how often it gave each one, and Forget takes
// that count back. Handles are chosen by the agent, so that requests can be pipelined behind an Open; so are the numbers of nodes
// that the agent makes under a lease (`as`).
//
// What a job makes can be acknowledged to it before home knows (Made.makes, Made.room). The agent sends such requests in the bulk lane,
// one behind the other, and the job's output and end behind them; home lets nobody learn of what came after before it has done them.

inline constexpr std::uint64_t agents_nodes = 1ull << 61;  // from here on up to 2^62 the agent numbers nodes
inline constexpr std::string_view kept_names = ".ssi-undo-";  // what begins so cannot be made: home keeps removed files under such names

struct Attr {
  std::uint64_t ino = 0;
  std::uint32_t mode = 0, nlink = 0, uid = 0, gid = 0;
  std::uint64_t rdev = 0, size = 0, blocks = 0;  // blocks of 512 bytes
  std::uint32_t blksize = 4096;
  std::int64_t atime = 0, mtime = 0, ctime = 0;  // ns since the epoch
  std::uint8_t acl = 1;  // 0: it has no POSIX ACL (neither access nor default)
  std::uint8_t brief =
      0;  // 1: home cannot watch it: neither this nor the name that led to it is to be remembered
  SSI_FIELDS(ino, mode, nlink, uid, gid, rdev, size, blocks, blksize, atime, mtime, ctime, acl, brief)
};

// An Entry, an Attr or the absence of a name is a lease: the guest may use it until it is told otherwise (Invalidate, Locked), or
// changes it itself.

struct Entry {
  std::uint64_t node = 0;
  std::uint32_t fs = 0;  // differs from the parent's: the name is a mount point at home
  Attr attr;
  Bytes target;  // of a symbolic link, which never changes; empty: not said
  SSI_FIELDS(node, fs, attr, target)
};

// How much of what jobs do in a directory the agent may acknowledge by itself, until the directory's lease ends (Revoke) or the job does.
enum class Makes : std::uint8_t {
  nothing = 0,
  files = 1,     // open(2) may make files there that are not there, but for O_EXCL
  all = 2,       // a job of this guest has made the directory: files and symbolic links, and what it made it may remove
};

// What was made: an Entry, and what else the agent would ask for next.
struct Made {
  std::uint64_t node = 0;
  std::uint32_t fs = 0;
  Attr attr;
  Bytes target;
  Attr parent{};           // of the directory it was made in, as it is now; ino 0: not said
  std::uint8_t makes = 0;  // Makes, in that directory; of Mkdir: in the new one
  std::uint8_t room = 0;   // 1: the job's writes to this file may be acknowledged, home's disk has room
  std::vector<std::uint64_t> inodes{};  // of files that this caller's job may have made next (Create.inode), in this file system
  Entry entry() const { return {node, fs, attr, target}; }
  SSI_FIELDS(node, fs, attr, target, parent, makes, room, inodes)
};

// The errno where only home has it (NeedsHome): what the policy hides; of Open.exec also what may be run and not read.
inline constexpr int hidden = 1000;

struct Lookup {  // node 0: there is no such name, which may be remembered (ENOENT: not to be)
  using Reply = Entry;
  std::uint64_t parent = 0;
  Bytes name;
  Caller caller;
  SSI_FIELDS(parent, name, caller)
};

struct Forgotten {
  std::uint64_t node = 0, count = 0;
  SSI_FIELDS(node, count)
};

struct Forget {
  std::vector<Forgotten> nodes;
  SSI_FIELDS(nodes)
};

struct Getattr {
  using Reply = Attr;
  std::uint64_t node = 0, handle = 0;  // handle 0: none
  SSI_FIELDS(node, handle)
};

struct Setattr {
  using Reply = Attr;
  enum Field : std::uint32_t {
    set_mode = 1,
    set_uid = 2,
    set_gid = 4,
    set_size = 8,
    set_atime = 16,
    set_mtime = 32,
    atime_now = 64,
    mtime_now = 128
  };
  std::uint64_t node = 0, handle = 0;
  std::uint32_t fields = 0;  // Field bits
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::uint64_t size = 0;
  std::int64_t atime = 0, mtime = 0;  // ns since the epoch
  Caller caller;
  SSI_FIELDS(node, handle, fields, mode, uid, gid, size, atime, mtime, caller)
};

struct Readlink {  // the reply's body is the target
  using Reply = None;
  std::uint64_t node = 0;
  SSI_FIELDS(node)
};

struct Mknod {  // regular files, FIFOs, sockets; devices as home's rights allow
  using Reply = Made;
  std::uint64_t parent = 0;
  Bytes name;
  std::uint32_t mode = 0;  // without the umask, which counts only where the directory has no default ACL
  std::uint64_t rdev = 0;
  Caller caller;
  std::uint32_t umask = 0;
  SSI_FIELDS(parent, name, mode, rdev, caller, umask)
};

struct Mkdir {
  using Reply = Made;
  std::uint64_t parent = 0;
  Bytes name;
  std::uint32_t mode = 0;
  Caller caller;
  std::uint32_t umask = 0;
  SSI_FIELDS(parent, name, mode, caller, umask)
};

struct Symlink {
  using Reply = Made;
  std::uint64_t parent = 0;
  Bytes name, target;
  Caller caller;
  std::uint64_t as = 0;  // its node's number; 0: home's to choose
  SSI_FIELDS(parent, name, target, caller, as)
};

struct Link {
  using Reply = Made;
  std::uint64_t node = 0, parent = 0;
  Bytes name;
  Caller caller;
  SSI_FIELDS(node, parent, name, caller)
};

// The files that a change of names was about, as far as the guest has them: it believes nothing of them any more.
struct Renamed {
  std::uint64_t node = 0, replaced = 0;
  SSI_FIELDS(node, replaced)
};

struct Unlink {
  using Reply = Renamed;
  std::uint64_t parent = 0;
  Bytes name;
  Caller caller;
  SSI_FIELDS(parent, name, caller)
};

struct Rmdir {
  using Reply = Renamed;
  std::uint64_t parent = 0;
  Bytes name;
  Caller caller;
  SSI_FIELDS(parent, name, caller)
};

struct Rename {
  using Reply = Renamed;
  std::uint64_t parent = 0;
  Bytes name;
  std::uint64_t new_parent = 0;
  Bytes new_name;
  std::uint32_t flags = 0;  // as renameat2(2)
  Caller caller;
  SSI_FIELDS(parent, name, new_parent, new_name, flags, caller)
};

struct Open {  // files and directories
  using Reply = Attr;
  std::uint64_t node = 0, handle = 0;
  std::int32_t flags = 0;  // as open(2)
  Caller caller;
  std::uint8_t exec = 0;  // 1: to run it, so no other guest may write it meanwhile (ETXTBSY)
  SSI_FIELDS(node, handle, flags, caller, exec)
};

// One way: the agent has opened a file or directory for reading by itself, since it was told its attributes and not since
// that they are not true any more. What home has against it is the answer to the handle's first use.
struct Opened {
  std::uint64_t node = 0, handle = 0;
  std::int32_t flags = 0;  // as open(2)
  Caller caller;
  SSI_FIELDS(node, handle, flags, caller)
};

// One way: these it has opened so and closed again, without a word in between.
struct Visited {
  std::vector<std::uint64_t> nodes;
  SSI_FIELDS(nodes)
};

struct Create {  // with O_TMPFILE in `flags`: a file without a name, `name` is empty
  using Reply = Made;
  std::uint64_t parent = 0;
  Bytes name;
  std::uint32_t mode = 0;
  std::int32_t flags = 0;
  std::uint64_t handle = 0;
  Caller caller;
  std::uint32_t umask = 0;
  std::uint64_t as = 0;  // its node's number; 0: home's to choose. ESTALE: a file that the guest knows has got that name
  std::uint64_t inode = 0;  // one of Made.inodes: it is to have that number, unless there is a file of that name; 0: any
  SSI_FIELDS(parent, name, mode, flags, handle, caller, umask, as, inode)
};

struct Content {
  std::uint32_t size = 0;  // of the bytes, when the body is compressed by zstd; 0: it is not
  std::int64_t atime = 0;  // of the file, now that it was read; 0: not said
  std::int64_t ctime = 0;  // as it was read, if it would show by now that somebody is writing there; 0: it might not, or is not said
  SSI_FIELDS(size, atime, ctime)
};

struct Read {  // the reply's body: up to `size` (<= max_body) bytes, shorter only at end of file
  using Reply = Content;
  std::uint64_t handle = 0, offset = 0;
  std::uint32_t size = 0;
  std::uint8_t may_compress = 0;  // 1: the body may be compressed, where that makes it smaller
  SSI_FIELDS(handle, offset, size, may_compress)
};

struct Space {  // as statvfs(3)
  std::uint64_t bsize = 0, frsize = 0, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0, namemax = 0;
  SSI_FIELDS(bsize, frsize, blocks, bfree, bavail, files, ffree, namemax)
};

// Home's disk has room: far more than what may be on its way there, acknowledged.
inline bool has_room(const Space& space) {
  constexpr std::uint64_t enough = 64 << 20, enough_files = 10'000;
  return space.bavail * space.frsize >= enough && (space.files == 0 || space.ffree >= enough_files);
}

struct Written {
  std::uint32_t size = 0;
  std::uint8_t room = 0;    // as Made.room, now
  std::int32_t error = 0;   // why it is not more
  SSI_FIELDS(size, room, error)
};

struct Write {  // body: the bytes
  using Reply = Written;
  std::uint64_t handle = 0, offset = 0;
  std::uint8_t append =
      0;  // 1: its description has O_APPEND now (fcntl(2) can change it): the offset is home's to choose
  SSI_FIELDS(handle, offset, append)
};

struct Flush {  // a descriptor of this handle was closed: report what close(2) reports at home
  using Reply = None;
  std::uint64_t handle = 0;
  std::uint64_t owner = 0;  // whose locks (SetLock) of the file end with it, 0: nobody's
  SSI_FIELDS(handle, owner)
};

struct Release {
  std::uint64_t handle = 0;
  SSI_FIELDS(handle)
};

struct Fsync {
  using Reply = None;
  std::uint64_t handle = 0;
  std::uint8_t data_only = 0;
  SSI_FIELDS(handle, data_only)
};

struct DirEntry {
  Bytes name;
  std::uint64_t ino = 0;
  std::uint32_t type = 0;  // S_IFMT bits
  std::int64_t next = 0;   // offset that continues behind this entry
  Entry entry;             // node 0: none ("." and "..", names that vanished, or plus = 0)
  SSI_FIELDS(name, ino, type, next, entry)
};

struct DirPage {
  std::vector<DirEntry> entries;  // empty: the end
  std::uint8_t end = 0;           // 1: nothing follows these
  SSI_FIELDS(entries, end)
};

struct Readdir {
  using Reply = DirPage;
  std::uint64_t handle = 0;
  std::int64_t offset = 0;  // 0, or a DirEntry's `next`
  std::uint8_t plus = 0;    // with entries: each one given counts as a lookup
  SSI_FIELDS(handle, offset, plus)
};

// What lies in a directory, without opening it: for an agent that is asked for one name after the other. As Readdir with `plus`;
// here `end` says besides that no other names are there, which may be remembered of each of them.
struct List {
  using Reply = DirPage;
  std::uint64_t node = 0;
  std::int64_t offset = 0;  // 0, or the last DirEntry's `next`
  Caller caller;
  SSI_FIELDS(node, offset, caller)
};

// deputy -> agent, before a Start: what this command has looked up and read before, as it is now. Each node of an entry counts as a
// lookup. One with node 0: there is no such name.
struct ForeseenName {
  std::uint64_t parent = 0;
  Bytes name;
  Entry entry;
  SSI_FIELDS(parent, name, entry)
};

struct ForeseenRange {
  std::uint64_t node = 0, offset = 0, size = 0;  // of its content
  SSI_FIELDS(node, offset, size)
};

struct Foreseen {
  std::vector<ForeseenName> names;
  std::vector<ForeseenRange> ranges;  // of nodes that `names` of this session have given
  SSI_FIELDS(names, ranges)
};

// agent -> deputy, before Exited: names that a job asked for and the agent knew from a List.
struct Found {
  std::uint64_t job = 0;
  std::vector<Name> names;
  SSI_FIELDS(job, names)
};

// deputy -> agent: from now on home is asked before anything is made in this directory. Answered when all that was acknowledged
// before is on its way.
struct Revoke {
  using Reply = None;
  std::uint64_t node = 0;
  SSI_FIELDS(node)
};

struct Statfs {
  using Reply = Space;
  std::uint64_t node = 0;
  SSI_FIELDS(node)
};

struct Setxattr {  // body: the value
  using Reply = None;
  std::uint64_t node = 0;
  Bytes name;
  std::int32_t flags = 0;
  Caller caller;
  SSI_FIELDS(node, name, flags, caller)
};

struct Getxattr {  // the reply's body: the value
  using Reply = None;
  std::uint64_t node = 0;
  Bytes name;
  SSI_FIELDS(node, name)
};

struct Listxattr {  // the reply's body: names, each ended by NUL
  using Reply = None;
  std::uint64_t node = 0;
  SSI_FIELDS(node)
};

struct Removexattr {
  using Reply = None;
  std::uint64_t node = 0;
  Bytes name;
  Caller caller;
  SSI_FIELDS(node, name, caller)
};

struct Access {
  using Reply = None;
  std::uint64_t node = 0;
  std::int32_t mask = 0;
  Caller caller;
  SSI_FIELDS(node, mask, caller)
};

struct Fallocate {
  using Reply = None;
  std::uint64_t handle = 0;
  std::int32_t mode = 0;
  std::uint64_t offset = 0, length = 0;
  SSI_FIELDS(handle, mode, offset, length)
};

struct Offset {
  std::int64_t offset = 0;
  SSI_FIELDS(offset)
};

struct Seek {  // SEEK_DATA, SEEK_HOLE
  using Reply = Offset;
  std::uint64_t handle = 0;
  std::int64_t offset = 0;
  std::int32_t whence = 0;
  SSI_FIELDS(handle, offset, whence)
};

struct CopyRange {
  using Reply = Written;
  std::uint64_t from = 0, from_offset = 0, to = 0, to_offset = 0;
  std::uint32_t length = 0;
  SSI_FIELDS(from, from_offset, to, to_offset, length)
};

// --- locks. `owner` is a number of the guest's kernel: of a process, or of an open file description when the lock is an
// OFD lock; the locks are home's. With `wait`, a number that no other waiting request of the session has, a lock is
// waited for until CancelLock; with 0 the answer is EAGAIN.

struct LockRange {
  std::int32_t type = 0;               // F_RDLCK, F_WRLCK or F_UNLCK
  std::int64_t start = 0, length = 0;  // length 0: to the end of the file, wherever that is
  std::int32_t pid = 0;                // of who locks, in the guest; 0: nobody there
  SSI_FIELDS(type, start, length, pid)
};

struct GetLock {  // what stands in the way of this lock; F_UNLCK: nothing
  using Reply = LockRange;
  std::uint64_t handle = 0, owner = 0;
  LockRange range;
  SSI_FIELDS(handle, owner, range)
};

// Who has got a lock is to see what others did before they gave it up: in this file, and to the names beside it.
struct Locked {
  Attr attr;         // what the file is like now
  Invalidate stale;  // what the guest may believe of its directory, and is not true any more
  SSI_FIELDS(attr, stale)
};

struct SetLock {
  using Reply = Locked;
  std::uint64_t handle = 0, owner = 0;
  LockRange range;
  std::uint64_t wait = 0;
  SSI_FIELDS(handle, owner, range, wait)
};

struct Flock {
  using Reply = Locked;
  std::uint64_t handle = 0;
  std::int32_t operation = 0;  // LOCK_SH, LOCK_EX or LOCK_UN
  std::uint64_t wait = 0;
  SSI_FIELDS(handle, operation, wait)
};

struct CancelLock {  // a waiting request is answered EINTR, unless it has been answered
  std::uint64_t wait = 0;
  SSI_FIELDS(wait)
};

// From now on the handle stands for the file's description that home passed (Descriptor): it goes on where that stands.
struct Adopt {
  using Reply = None;
  std::uint64_t handle = 0, token = 0;
  SSI_FIELDS(handle, token)
};

using Frame = std::variant<Hello, Taken, Ping, SpecPart, Start, Data, Credit, End, Signal, Kill, Exited,
                           Mounts, Invalidate, Lookup, Forget, Getattr, Setattr, Readlink, Mknod, Mkdir,
                           Symlink, Link, Unlink, Rmdir, Rename, Open, Create, Read, Write, Flush, Release,
                           Fsync, Readdir, Statfs, Setxattr, Getxattr, Listxattr, Removexattr, Access,
                           Fallocate, Seek, CopyRange, Gone, Resize, Consumed, Stopped, ModesChanged,
                           NeedsHome, Foreground, Adopt, GetLock, SetLock, Flock, CancelLock, Remark, Resume, Over, Grace, Opened, List, Foreseen, Found,
                           Revoke, Visited>;

// The kind of a struct: its index in `Frame`.
template <class T>
constexpr std::uint16_t kind_of();

// A frame from its kind and metadata.
Result<Frame> decode_frame(std::uint16_t kind, std::string_view meta);

// The fields of one message of the above (wire.cc has them all).
template <class T>
Bytes pack(const T& message);
template <class T>
Result<T> unpack(std::string_view bytes);

// ------------------------------------------------------------------------------------------ how it is done

namespace detail {
template <class T, class Variant>
struct IndexOf;
template <class T, class... Rest>
struct IndexOf<T, std::variant<T, Rest...>> : std::integral_constant<std::uint16_t, 0> {};
template <class T, class First, class... Rest>
struct IndexOf<T, std::variant<First, Rest...>>
    : std::integral_constant<std::uint16_t,
                             static_cast<std::uint16_t>(1 + IndexOf<T, std::variant<Rest...>>::value)> {};
}  // namespace detail

template <class T>
constexpr std::uint16_t kind_of() {
  return detail::IndexOf<T, Frame>::value;
}

}  // namespace ssi::wire
