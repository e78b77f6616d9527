// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/admission.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "common/fd.h"
#include "common/identity.h"
#include "common/log.h"

namespace ssi {
namespace {

constexpr std::int64_t unknown_key_ms = 200;  // strangers make us read the directory no more often than this
constexpr std::int64_t tick_ms = 50;          // file times are only as fine as the kernel's tick

std::int64_t ms_of(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

std::int64_t now_ms(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return ms_of(now);
}

bool is_name(std::string_view name) {
  constexpr std::string_view others = "._-@";
  if (name.empty() || name.size() > 128) return false;
  for (const char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && others.find(c) == others.npos) return false;
  return true;
}

Status check_safe(const std::string& path, const struct stat& st) {
  if (st.st_uid != ::geteuid() && st.st_uid != 0)
    return failure(path + ": belongs to another user (uid " + std::to_string(st.st_uid) + ")");
  if (st.st_mode & 022) return failure(path + ": others may write to it");
  return {};
}

Result<std::string> read_member(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0) return os_error("open " + path);
  if (!S_ISREG(st.st_mode)) return failure(path + ": is not a regular file");
  if (auto safe = check_safe(path, st); !safe) return tl::make_unexpected(safe.error());
  std::array<char, 256> content{};
  const auto size = ::read(file.get(), content.data(), content.size());
  if (size < 0) return os_error("read " + path);
  return std::string(content.data(), static_cast<std::size_t>(size));
}

}  // namespace

Result<Member> parse_member(const std::string& file, std::string_view content) {
  const auto bad = [&] { return failure(file + ": is not one line 'guest KEY' or 'deputy KEY'"); };
  Member member{Role::guest, file.substr(0, file.size() - std::string_view(".pub").size()), {}};
  if (!file.ends_with(".pub") || !is_name(member.name)) return failure(file + ": is not called NAME.pub");
  if (content.ends_with('\n')) content.remove_suffix(1);
  const auto space = content.find(' ');
  if (space == std::string_view::npos) return bad();
  const auto role = content.substr(0, space);
  auto key = parse_key(content.substr(space + 1));
  if ((role != "guest" && role != "deputy") || !key) return bad();
  if (role == "deputy") {
    member.role = Role::deputy;
    member.name = member.name.substr(0, member.name.find('@'));
    if (member.name.empty()) return bad();
  }
  member.key = std::move(*key);
  return member;
}

Result<Admission> Admission::open(const std::string& directory) {
  struct stat st {};
  if (::stat(directory.c_str(), &st) != 0) return os_error(directory);
  if (!S_ISDIR(st.st_mode)) return os_error(directory, ENOTDIR);
  if (auto safe = check_safe(directory, st); !safe) return tl::make_unexpected(safe.error());
  Admission admission(directory);
  admission.read();
  return admission;
}

const Member* Admission::find(std::string_view curve_key) {
  if (!settled_ || changed()) read();
  auto found = members_.find(curve_key);
  // A file that was rewritten in place doesn't change the directory.
  if (found == members_.end() && now_ms(CLOCK_MONOTONIC) - read_ms_ >= unknown_key_ms) {
    read();
    found = members_.find(curve_key);
  }
  return found == members_.end() ? nullptr : &found->second;
}

bool Admission::changed() const {
  struct stat st {};
  return ::stat(directory_.c_str(), &st) != 0 || st.st_mtim.tv_sec != modified_.tv_sec ||
         st.st_mtim.tv_nsec != modified_.tv_nsec;
}

// Fails closed: what cannot be read admits nobody.
void Admission::read() {
  struct stat st {};
  const bool there = ::stat(directory_.c_str(), &st) == 0;
  modified_ = st.st_mtim;
  settled_ = there && now_ms(CLOCK_REALTIME) - ms_of(st.st_mtim) > tick_ms;
  read_ms_ = now_ms(CLOCK_MONOTONIC);
  members_.clear();
  std::error_code error;
  for (std::filesystem::directory_iterator file(directory_, error), end; !error && file != end;
       file.increment(error)) {
    const auto name = file->path().filename().string();
    if (!name.ends_with(".pub")) continue;  // a file that is still being written, or an editor's
    const auto content = read_member(file->path().string());
    auto member = content ? parse_member(name, *content) : tl::make_unexpected(content.error());
    if (!member) {
      log::warning("admits nobody: {}", member.error().text());
      continue;
    }
    const auto curve_key = curve_key_of(member->key).value();
    members_.insert_or_assign(curve_key, std::move(*member));
  }
  if (error) {
    log::error("cannot read {}: {}", directory_, error.message());
    members_.clear();
  }
}

}  // namespace ssi
