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
#include "common/whole_file.h"

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

constexpr std::size_t longest_wish = 100;  // room for a number behind it
constexpr std::string_view admitted_suffix = ".pub", revoked_suffix = ".revoked";

// NAME of NAME.pub or NAME.revoked; empty: it is called otherwise.
std::string name_of_file(const std::string& file) {
  for (const auto suffix : {admitted_suffix, revoked_suffix})
    if (file.ends_with(suffix)) return file.substr(0, file.size() - suffix.size());
  return {};
}

// 8-4-4-4-12 hexadecimal digits, as /sys/hypervisor/uuid has them.
bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

std::string line_of(const Member& guest) {
  return "guest " + key_text(guest.key) + (guest.uuid.empty() ? "" : " " + guest.uuid) + "\n";
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

bool is_member_name(std::string_view name) {
  constexpr std::string_view others = "._-@";
  if (name.empty() || name.size() > 128) return false;
  for (const char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && others.find(c) == others.npos) return false;
  return true;
}

bool names_key(std::string_view who, std::string_view key) {
  return who.size() >= fingerprint(key).size() && key_text(key).starts_with(who);
}

Result<Member> parse_member(const std::string& file, std::string_view content) {
  const auto bad = [&] {
    return failure(file + ": is not one line 'guest KEY', 'deputy KEY' or 'admin KEY'");
  };
  Member member{Role::guest, name_of_file(file), {}, {}};
  if (!is_member_name(member.name)) return failure(file + ": is not called NAME.pub");
  if (content.ends_with('\n')) content.remove_suffix(1);
  const auto space = content.find(' ');
  if (space == std::string_view::npos) return bad();
  const auto role = content.substr(0, space);
  auto words = content.substr(space + 1);
  if (const auto second = words.find(' '); second != std::string_view::npos && role == "guest") {
    member.uuid = words.substr(second + 1);
    words = words.substr(0, second);
    if (!is_uuid(member.uuid)) return bad();
  }
  auto key = parse_key(words);
  if ((role != "guest" && role != "deputy" && role != "admin") || !key) return bad();
  if (role != "guest") {
    member.role = role == "admin" ? Role::admin : Role::deputy;
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

void Admission::refresh() {
  if (!settled_ || changed()) read();
}

const Member* Admission::find_in(const Members& members, std::string_view curve_key) {
  refresh();
  auto found = members.find(curve_key);
  // A file that was rewritten in place doesn't change the directory.
  if (found == members.end() && now_ms(CLOCK_MONOTONIC) - read_ms_ >= unknown_key_ms) {
    read();
    found = members.find(curve_key);
  }
  return found == members.end() ? nullptr : &found->second;
}

const Member* Admission::find(std::string_view curve_key) {
  return find_in(members_, curve_key);
}

const Member* Admission::find_revoked(std::string_view curve_key) {
  return find_in(revoked_, curve_key);
}

std::vector<Member> Admission::guests() {
  refresh();
  std::vector<Member> guests;
  for (const auto& [key, member] : members_)
    if (member.role == Role::guest) guests.push_back(member);
  return guests;
}

std::vector<Member> Admission::revoked() {
  refresh();
  std::vector<Member> guests;
  for (const auto& [key, member] : revoked_) guests.push_back(member);
  return guests;
}

Result<std::string> Admission::admit_guest(const std::string& wish, const std::string& key,
                                           const std::string& uuid) {
  const auto is_known = [&]() -> Status {
    const auto* known = find(curve_key_of(key).value());
    return known ? failure("this key is admitted already, as " + known->name) : Status();
  };
  if (auto known = is_known(); !known) return tl::make_unexpected(known.error());
  const auto file = [&](const std::string& name, std::string_view suffix) {
    return directory_ + "/" + name + std::string(suffix);
  };
  const auto is_taken = [&](const std::string& name) {
    return ::access(file(name, admitted_suffix).c_str(), F_OK) == 0 ||
           ::access(file(name, revoked_suffix).c_str(), F_OK) == 0;
  };
  // "home" is what people call the place where jobs run that are not in a guest.
  const bool good = is_member_name(wish) && wish != "home" && wish.size() <= longest_wish;
  Member guest{Role::guest, good ? wish : "guest-" + fingerprint(key).substr(0, 8), key,
               is_uuid(uuid) ? uuid : ""};
  const auto* before = find_revoked(curve_key_of(key).value());
  const auto wished = guest.name;
  auto earlier = before ? before->name : std::string();
  if (before) guest.name = earlier;
  for (int number = 2;;) {
    // Copies of one image have one name: the second becomes NAME-2.
    while (guest.name != earlier && is_taken(guest.name)) guest.name = wished + "-" + std::to_string(number++);
    // A guest asks all schedulers of its list at once: another one with this directory may have admitted it since.
    read();
    if (auto known = is_known(); !known) return tl::make_unexpected(known.error());
    const auto written = put_file(file(guest.name, admitted_suffix), line_of(guest), {.replaces = false});
    if (written) break;
    if (written.error().code != std::errc::file_exists) return tl::make_unexpected(written.error());
    earlier.clear();
  }
  ::unlink(file(guest.name, revoked_suffix).c_str());
  read();
  return guest.name;
}

Result<Member> Admission::revoke_guest(const std::string& who) {
  std::vector<Member> found;
  for (const auto& guest : guests())
    if (guest.name == who || names_key(who, guest.key)) found.push_back(guest);
  if (found.empty())
    for (const auto& guest : revoked())  // by another scheduler with this directory, perhaps
      if (guest.name == who || names_key(who, guest.key)) return guest;
  if (found.empty()) return failure("no guest '" + who + "' is admitted; 'ssi guests list' shows all");
  if (found.size() > 1) return failure("'" + who + "' means several guests; 'ssi guests list' shows all");
  const auto guest = found.front();
  const auto path = directory_ + "/" + guest.name;
  if (auto written = put_file(path + std::string(revoked_suffix), line_of(guest)); !written)
    return tl::make_unexpected(written.error());
  if (::unlink((path + std::string(admitted_suffix)).c_str()) != 0) return os_error("remove " + path);
  read();
  if (find(curve_key_of(guest.key).value()))
    return failure("another file in " + directory_ + " admits the same key");
  return guest;
}

bool Admission::changed() const {
  struct stat st {};
  return ::stat(directory_.c_str(), &st) != 0 || st.st_mtim.tv_sec != modified_.tv_sec ||
         st.st_mtim.tv_nsec != modified_.tv_nsec;
}

void Admission::read_file(const std::string& name) {
  const auto content = read_member(directory_ + "/" + name);
  auto member = content ? parse_member(name, *content) : tl::make_unexpected(content.error());
  if (!member) return log::warning("admits nobody: {}", member.error().text());
  auto& members = name.ends_with(revoked_suffix) ? revoked_ : members_;
  members.insert_or_assign(curve_key_of(member->key).value(), std::move(*member));
}

// Fails closed: what cannot be read admits nobody.
void Admission::read() {
  struct stat st {};
  const bool there = ::stat(directory_.c_str(), &st) == 0;
  modified_ = st.st_mtim;
  settled_ = there && now_ms(CLOCK_REALTIME) - ms_of(st.st_mtim) > tick_ms;
  read_ms_ = now_ms(CLOCK_MONOTONIC);
  members_.clear();
  revoked_.clear();
  std::error_code error;
  for (std::filesystem::directory_iterator file(directory_, error), end; !error && file != end;
       file.increment(error)) {
    const auto name = file->path().filename().string();
    // Others are still being written, an editor's, or enrolment tokens.
    if (name.ends_with(admitted_suffix) || name.ends_with(revoked_suffix)) read_file(name);
  }
  if (error) {
    log::error("cannot read {}: {}", directory_, error.message());
    members_.clear();
  }
  // A file that was put back by hand counts.
  for (const auto& [key, member] : members_) revoked_.erase(key);
}

}  // namespace ssi
