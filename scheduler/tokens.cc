// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/tokens.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include <array>
#include <charconv>
#include <filesystem>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::size_t token_bytes = 16;
constexpr std::string_view suffix = ".token";
constexpr std::int64_t remembered = 7 * 24 * 3600;  // seconds that an expired one is still called expired

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string text(2 * size + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, size);
  text.pop_back();
  return text;
}

// A token has 128 random bits, so an unkeyed hash of it cannot be guessed back.
std::string file_name(std::string_view token) {
  std::array<unsigned char, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(token.data()),
                     token.size(), nullptr, 0);
  return hex(hash.data(), hash.size()) + std::string(suffix);
}

// When the token of this file expires; 0: there is no such file, or not one of ours.
std::int64_t expiry_in(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 022)) return 0;
  if (st.st_uid != ::geteuid() && st.st_uid != 0) return 0;
  std::array<char, 32> text{};
  const auto size = ::read(file.get(), text.data(), text.size());
  std::int64_t expires = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, expires);
  return expires;
}

}  // namespace

Result<std::string> Tokens::make(std::uint32_t seconds, std::int64_t now) {
  if (seconds == 0 || seconds > longest) return failure("a token holds for 1 s to 30 days");
  forget_old(now);
  std::array<unsigned char, token_bytes> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  auto token = hex(bytes.data(), bytes.size());
  const auto path = directory_ + "/" + file_name(token);
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return os_error("create " + path);
  const auto text = std::to_string(now + seconds) + "\n";
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    const auto error = os_error("write " + path);
    ::unlink(path.c_str());
    return error;
  }
  return token;
}

Status Tokens::check(std::string_view token, std::int64_t now) const {
  const auto expires = token.size() == 2 * token_bytes ? expiry_in(directory_ + "/" + file_name(token)) : 0;
  if (expires == 0) return failure("the token is not one of this scheduler's");
  // Without a number, so that a guest that goes on trying is one line in the log.
  if (now >= expires) return failure("the token has expired; 'ssi guests token' makes another");
  return {};
}

void Tokens::forget_old(std::int64_t now) const {
  std::error_code error;
  for (std::filesystem::directory_iterator file(directory_, error), end; !error && file != end;
       file.increment(error)) {
    const auto path = file->path().string();
    if (!path.ends_with(suffix)) continue;
    if (const auto expires = expiry_in(path); expires != 0 && expires + remembered < now)
      ::unlink(path.c_str());
  }
}

}  // namespace ssi
