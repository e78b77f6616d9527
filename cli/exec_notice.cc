// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/exec_notice.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/traced_program.h"

namespace ssi {

struct ExecNotices::Call {
  pid_t task = 0;
  std::uint64_t id = 0;
  long number = 0;
  std::uint64_t path_at = 0, argv_at = 0, envp_at = 0;
  std::string path;        // as it was given; after a directory's descriptor with that directory before it
  std::string file;        // where we find it
  std::size_t length = 0;  // of the string at path_at
};

namespace {

// What the kernel answers to have a system call made again, whatever signal comes meanwhile: linux/errno.h, which is not
// for user space.
constexpr int restart_always = 513;

// Linux 6.6: who asks and who answers run one after the other, on one processor. Before, it is an error that matters not.
constexpr unsigned long notif_set_flags = SECCOMP_IOW(4, __u64);
constexpr unsigned long sync_wake_up = 1;

constexpr int x32_bit = 0x40000000;  // asm/unistd.h: __X32_SYSCALL_BIT

std::string proc(pid_t task, const std::string& what) {
  return "/proc/" + std::to_string(task) + "/" + what;
}

// A string of another task's, up to the end of a page at a time: the next one may not be there.
std::optional<std::string> read_text(int memory, std::uint64_t at) {
  std::string text;
  std::array<char, 4096> piece;
  while (text.size() < PATH_MAX) {
    const auto room = piece.size() - at % piece.size();
    const auto got = ::pread(memory, piece.data(), room, static_cast<off_t>(at));
    if (got <= 0) return {};
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (const auto end = text.find('\0'); end != std::string::npos) return text.substr(0, end);
    at += static_cast<std::uint64_t>(got);
  }
  return {};
}

bool has_words(int memory, std::uint64_t argv_at) {
  std::uint64_t first = 0;
  return argv_at && ::pread(memory, &first, sizeof first, static_cast<off_t>(argv_at)) == sizeof first &&
         first;
}

std::string target(const std::string& link) {
  std::array<char, PATH_MAX> text;
  const auto size = ::readlink(link.c_str(), text.data(), text.size());
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

bool is_same(const std::string& path, const struct stat& file) {
  struct stat other {};
  return ::stat(path.c_str(), &other) == 0 && other.st_dev == file.st_dev && other.st_ino == file.st_ino;
}

bool has_our_root(pid_t task) {
  struct stat root {};
  return ::stat("/", &root) == 0 && is_same(proc(task, "root/"), root);
}

// As the shim has it: what can be executed, and would be the same elsewhere. Anything else fails, or runs, as ever.
bool is_executable(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode) || file.st_mode & (S_ISUID | S_ISGID) ||
      ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0)
    return false;
  const Fd program(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 4> magic{};
  const auto length = program ? ::read(program.get(), magic.data(), magic.size()) : -1;
  const std::string_view start(magic.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return start == "\177ELF" || start.starts_with("#!");
}

int add_descriptor(int listener, std::uint64_t id, const Fd& fd, std::uint32_t flags) {
  seccomp_notif_addfd add{};
  add.id = id;
  add.srcfd = static_cast<std::uint32_t>(fd.get());
  add.newfd_flags = flags;
  return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
}

Fd describe(const std::string& path, const std::string& runtime) {
  Fd file(::memfd_create(TRACED_PROGRAM, MFD_CLOEXEC));
  const auto text = path + '\0' + runtime + '\0';
  if (file && ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    file.reset();
  return file;
}

// Our tracee stops on its way back from the system call. False: it has died, and is left to be reaped: it may be our
// own child.
bool wait_for_stop(pid_t task) {
  siginfo_t end{};
  int waited = 0;
  while ((waited = ::waitid(P_PID, static_cast<id_t>(task), &end, WEXITED | WSTOPPED | WNOWAIT | __WALL)) <
             0 &&
         errno == EINTR)
    continue;
  return waited == 0 && (end.si_code == CLD_TRAPPED || end.si_code == CLD_STOPPED);
}

#ifdef __x86_64__
constexpr bool is_supported = true;

// execveat(descriptor, "", …, AT_EMPTY_PATH) is made instead; the empty string is the end of the caller's own.
void rewrite(pid_t task, int descriptor, long number, std::uint64_t empty_at, std::uint64_t argv_at,
             std::uint64_t envp_at) {
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, task, nullptr, &registers) != 0) return;
  if (static_cast<long>(registers.orig_rax) != number || static_cast<long>(registers.rax) != -restart_always)
    return;
  registers.orig_rax = SYS_execveat;
  registers.rdi = static_cast<unsigned>(descriptor);
  registers.rsi = empty_at;
  registers.rdx = argv_at;
  registers.r10 = envp_at;
  registers.r8 = AT_EMPTY_PATH;
  ::ptrace(PTRACE_SETREGS, task, nullptr, &registers);
}
#else
constexpr bool is_supported = false;
void rewrite(pid_t, int, long, std::uint64_t, std::uint64_t, std::uint64_t) {}
#endif

// 32-bit programs and x32's start others as they like; but a sandbox is one by whatever call.
int tell_of_others_landlock(scmp_filter_ctx filter) {
  const scmp_filter_ctx others = ::seccomp_init(SCMP_ACT_ALLOW);
  if (!others) return -ENOMEM;
  int failed = ::seccomp_arch_remove(others, SCMP_ARCH_NATIVE);
  for (const std::uint32_t kind : std::array<std::uint32_t, 2>{SCMP_ARCH_X86, SCMP_ARCH_X32})
    failed |= ::seccomp_arch_add(others, kind);
  failed |= ::seccomp_attr_set(others, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
  failed |= ::seccomp_rule_add(others, SCMP_ACT_NOTIFY, SCMP_SYS(landlock_restrict_self), 0);
  if (!failed) failed = ::seccomp_merge(filter, others);
  if (failed) ::seccomp_release(others);  // else it belongs to the filter
  return failed;
}

Result<std::vector<sock_filter>> exec_filter() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  const Fd code(::memfd_create("filter", MFD_CLOEXEC));
  if (!filter || !code) return os_error("seccomp_init", ENOMEM);
  int failed = ::seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
  for (const int call : {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(landlock_restrict_self)})
    failed |= ::seccomp_rule_add(filter, SCMP_ACT_NOTIFY, call, 0);
  failed |= tell_of_others_landlock(filter);
  failed |= ::seccomp_export_bpf(filter, code.get());
  ::seccomp_release(filter);
  if (failed) return os_error("make the seccomp filter", -failed);
  std::vector<sock_filter> words(static_cast<std::size_t>(::lseek(code.get(), 0, SEEK_END)) /
                                 sizeof(sock_filter));
  const auto size = words.size() * sizeof(sock_filter);
  if (::pread(code.get(), words.data(), size, 0) != static_cast<ssize_t>(size))
    return os_error("read the filter");
  return words;
}

}  // namespace

Result<ExecNotices> ExecNotices::create(std::set<std::string> names, const std::string& ssirun,
                                        std::string runtime) {
  if (!is_supported)
    return failure("'--trace' is for x86-64 only: 'ssi shell --deep' reaches the same programs");
  Fd program(::open(ssirun.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file {};
  if (!program || ::fstat(program.get(), &file) != 0) return os_error(ssirun);
  ExecNotices notices(std::move(names), std::move(program), file, std::move(runtime));
  if (const int error = ::seccomp_notify_alloc(&notices.notice_, &notices.answer_))
    return os_error("seccomp_notify_alloc", -error);
  return notices;
}

ExecNotices::ExecNotices(std::set<std::string> names, Fd ssirun, struct stat file, std::string runtime)
    : names_(std::move(names)), ssirun_(std::move(ssirun)), file_(file), runtime_(std::move(runtime)) {}

ExecNotices::ExecNotices(ExecNotices&& other) noexcept
    : names_(std::move(other.names_)),
      ssirun_(std::move(other.ssirun_)),
      file_(other.file_),
      runtime_(std::move(other.runtime_)),
      passed_(std::move(other.passed_)),
      notice_(std::exchange(other.notice_, nullptr)),
      answer_(std::exchange(other.answer_, nullptr)) {}

ExecNotices::~ExecNotices() {
  ::seccomp_notify_free(notice_, answer_);
}

// ssirun's own execve(2) is the command at home.
bool ExecNotices::is_wanted(const Call& call) const {
  return names_.count(call.path.substr(call.path.rfind('/') + 1)) &&
         !is_same(proc(call.task, "exe"), file_) && has_our_root(call.task) && is_executable(call.file);
}

// The task waits, and only SIGKILL can end that (WAIT_KILLABLE_RECV). It is given the two descriptors, told to make its
// call again, and stops on the way to doing so, since we have said so before: there the call becomes another one. It
// must not go on with the call while it is ours: execve(2) gives a thread another number.
bool ExecNotices::divert(int listener, const Call& call) {
  const Fd told = describe(call.path, runtime_);
  if (!told || ::ptrace(PTRACE_SEIZE, call.task, nullptr, nullptr) != 0)
    return false;  // it has another tracer
  ::ptrace(PTRACE_INTERRUPT, call.task, nullptr, nullptr);
  // In this order: what is given and not used must end with the execve(2).
  const int ssirun = add_descriptor(listener, call.id, ssirun_, O_CLOEXEC);
  const bool is_given = ssirun >= 0 && add_descriptor(listener, call.id, told, 0) >= 0;
  answer_->flags = 0;
  answer_->error = -restart_always;
  (void)::seccomp_notify_respond(listener, answer_);
  if (!wait_for_stop(call.task)) return true;
  if (is_given)
    rewrite(call.task, ssirun, call.number, call.path_at + call.length, call.argv_at, call.envp_at);
  else
    passed_.insert(call.task);  // it has no descriptor left: the program itself
  ::ptrace(PTRACE_DETACH, call.task, nullptr, nullptr);
  return true;
}

// What the task is about to execute, read from its memory. Nothing when it is not for us, or the task is gone.
std::optional<ExecNotices::Call> ExecNotices::read_call(int listener) const {
  const auto& data = notice_->data;
  const bool has_directory = data.nr == SYS_execveat;
  const auto* words = data.args + (has_directory ? 1 : 0);
  Call call;
  call.task = static_cast<pid_t>(notice_->pid);
  call.id = notice_->id;
  call.number = data.nr;
  call.path_at = words[0];
  call.argv_at = words[1];
  call.envp_at = words[2];
  if (call.task <= 0 || (has_directory && data.args[4])) return {};  // not of our pid namespace; flags
  const Fd memory(::open(proc(call.task, "mem").c_str(), O_RDONLY | O_CLOEXEC));
  const auto path = memory ? read_text(memory.get(), call.path_at) : std::nullopt;
  if (!path || path->empty() || !has_words(memory.get(), call.argv_at)) return {};
  if (::seccomp_notify_id_valid(listener, call.id) != 0) return {};  // that was another task's memory
  const auto directory = static_cast<int>(data.args[0]);
  const bool is_below = has_directory && directory != AT_FDCWD && path->front() != '/';
  const auto place = proc(call.task, is_below ? "fd/" + std::to_string(directory) : "cwd");
  call.length = path->size();
  call.path = is_below ? target(place) + "/" + *path : *path;
  call.file = path->front() == '/' ? *path : place + "/" + *path;
  return call;
}

void ExecNotices::answer(int listener) {
  *notice_ = {};
  if (::seccomp_notify_receive(listener, notice_) != 0) return;
  *answer_ = {};
  answer_->id = notice_->id;
  answer_->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  const bool is_passed = passed_.erase(static_cast<pid_t>(notice_->pid)) != 0;
  // Who shuts himself in by Landlock shows it nowhere. The deputy, which is outside, knows this shell's callers by us:
  // with this we are no longer what it is, and from now on all stay home.
  if ((notice_->data.nr & ~x32_bit) == SYS_landlock_restrict_self) {  // the number is the same for all
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  } else if (!is_passed && !names_.empty()) {
    const auto call = read_call(listener);
    if (call && is_wanted(*call) && divert(listener, *call)) return;
  }
  (void)::seccomp_notify_respond(listener, answer_);
}

Result<Fd> install_exec_filter(bool& is_listened) {
  auto words = exec_filter();
  if (!words) return tl::make_unexpected(words.error());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return os_error("PR_SET_NO_NEW_PRIVS");
  sock_fprog program{static_cast<unsigned short>(words->size()), words->data()};
  Fd listener(static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program)));
  is_listened = !listener && errno == EBUSY;
  if (!listener && errno == EINVAL) return failure("'--trace' needs Linux 5.19 or later");
  if (!listener && !is_listened) return os_error("seccomp");
  if (listener) ::ioctl(listener.get(), notif_set_flags, sync_wake_up);
  return listener;
}

}  // namespace ssi
