// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/identity.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "common/fd.h"
#include "common/paths.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

constexpr std::size_t key_size = crypto_sign_PUBLICKEYBYTES;
static_assert(key_size == 32 && crypto_sign_SEEDBYTES == 32 && crypto_sign_BYTES == 64 &&
              crypto_scalarmult_curve25519_BYTES == 32);

// libsodium fails to start only without any source of randomness: nothing that we do would be safe then.
void start_sodium() {
  static const int started = sodium_init();
  if (started < 0) std::abort();
}

unsigned char* raw(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}
const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string hex(std::string_view bytes) {
  std::string text(2 * bytes.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), raw(bytes), bytes.size());
  text.pop_back();
  return text;
}

// 32 bytes from 64 hexadecimal digits; empty when `text` is anything else.
std::string unhex(std::string_view text) {
  std::string bytes(key_size, '\0');
  std::size_t size = 0;
  const char* end = nullptr;
  if (text.size() != 2 * key_size ||
      sodium_hex2bin(raw(bytes), bytes.size(), text.data(), text.size(), nullptr, &size, &end) != 0 ||
      size != key_size || end != text.data() + text.size())
    return {};
  return bytes;
}

Status check_secret(const std::string& path, int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return os_error("stat " + path);
  if (!S_ISREG(st.st_mode)) return failure(path + ": is not a regular file");
  if (st.st_uid != ::geteuid())
    return failure(path + ": belongs to another user (uid " + std::to_string(st.st_uid) + ")");
  if (st.st_mode & 077) return failure(path + ": others may read this secret key: chmod 600 " + path);
  return {};
}

}  // namespace

Identity Identity::generate() {
  start_sodium();
  Identity self;
  self.public_.resize(key_size);
  self.secret_.resize(crypto_sign_SECRETKEYBYTES);
  crypto_sign_keypair(raw(self.public_), raw(self.secret_));
  return self;
}

Result<Identity> Identity::load(const std::string& path) {
  start_sodium();
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return os_error("open " + path);
  if (auto checked = check_secret(path, file.get()); !checked) return tl::make_unexpected(checked.error());
  std::array<char, 128> text{};
  const auto size = ::read(file.get(), text.data(), text.size());
  if (size < 0) return os_error("read " + path);
  std::string_view digits(text.data(), static_cast<std::size_t>(size));
  if (digits.ends_with('\n')) digits.remove_suffix(1);
  const auto seed = unhex(digits);
  sodium_memzero(text.data(), text.size());
  if (seed.empty()) return failure(path + ": is not a secret key (64 hexadecimal digits)");
  Identity self;
  self.public_.resize(key_size);
  self.secret_.resize(crypto_sign_SECRETKEYBYTES);
  crypto_sign_seed_keypair(raw(self.public_), raw(self.secret_), raw(seed));
  return self;
}

Result<Identity> Identity::load_or_create(const std::string& path) {
  if (::access(path.c_str(), F_OK) == 0) return load(path);
  const auto slash = path.rfind('/');
  const auto directory = slash == std::string::npos ? std::string() : path.substr(0, slash);
  // A directory that is there already was made for more than keys: the file's own mode and owner guard the
  // secret.
  if (!directory.empty() && ::access(directory.c_str(), F_OK) != 0)
    if (auto made = paths::make_private_dir(directory); !made) return tl::make_unexpected(made.error());
  // Whoever starts at the same moment sees a whole key or none, and the first one wins.
  if (auto written = put_file(path, hex(generate().seed()) + "\n", {.replaces = false, .is_durable = true});
      !written && written.error().code != std::errc::file_exists)
    return tl::make_unexpected(written.error());
  return load(path);
}

std::string Identity::seed() const {
  std::string seed(crypto_sign_SEEDBYTES, '\0');
  crypto_sign_ed25519_sk_to_seed(raw(seed), raw(std::string_view(secret_)));
  return seed;
}

std::string Identity::sign(std::string_view message) const {
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_detached(raw(signature), nullptr, raw(message), message.size(), raw(std::string_view(secret_)));
  return signature;
}

std::string Identity::curve_public() const {
  return curve_key_of(public_).value();
}

std::string Identity::curve_secret() const {
  std::string key(crypto_scalarmult_curve25519_BYTES, '\0');
  crypto_sign_ed25519_sk_to_curve25519(raw(key), raw(std::string_view(secret_)));
  return key;
}

bool verify(std::string_view public_key, std::string_view message, std::string_view signature) {
  start_sodium();
  return public_key.size() == key_size && signature.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(raw(signature), raw(message), message.size(), raw(public_key)) == 0;
}

Result<std::string> curve_key_of(std::string_view public_key) {
  start_sodium();
  std::string key(crypto_scalarmult_curve25519_BYTES, '\0');
  if (public_key.size() != key_size || crypto_sign_ed25519_pk_to_curve25519(raw(key), raw(public_key)) != 0)
    return failure("not an Ed25519 public key");
  return key;
}

std::string key_text(std::string_view public_key) {
  return hex(public_key);
}
std::string fingerprint(std::string_view public_key) {
  return hex(public_key).substr(0, 16);
}

Result<std::string> parse_key(std::string_view text) {
  auto key = unhex(text);
  if (key.empty()) return failure("not a public key (64 hexadecimal digits)");
  if (!curve_key_of(key)) return failure("not a valid Ed25519 public key");
  return key;
}

}  // namespace ssi
