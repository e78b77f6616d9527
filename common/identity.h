// SPDX-License-Identifier: LGPL-2.1-or-later
// Who a deputy, agent or scheduler is: one Ed25519 key pair. Its X25519 half (libsodium's conversion) is the CURVE key
// of the control plane, the pair itself signs tickets and TLS certificates.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

class Identity {
 public:
  static Identity generate();

  // Reads the secret key file, or makes one (mode 0600, directories 0700). A file that others may read or that
  // belongs to another user is an error. Source: open(2) and the file's content.
  static Result<Identity> load_or_create(const std::string& path);
  static Result<Identity> load(const std::string& path);

  const std::string& public_key() const { return public_; }  // 32 bytes
  std::string seed() const;                                  // 32 bytes, secret
  std::string sign(std::string_view message) const;          // 64 bytes
  std::string curve_public() const;                          // 32 bytes, X25519
  std::string curve_secret() const;                          // 32 bytes, X25519

 private:
  std::string public_, secret_;
};

// True when `signature` is that of `public_key` over `message`. False for keys and signatures of a wrong size.
bool verify(std::string_view public_key, std::string_view message, std::string_view signature);

// The CURVE key that belongs to an Ed25519 public key.
Result<std::string> curve_key_of(std::string_view public_key);

// Public keys as people see them: 64 hexadecimal digits; and the first 16 of them, for messages.
std::string key_text(std::string_view public_key);
std::string fingerprint(std::string_view public_key);
Result<std::string> parse_key(std::string_view text);

}  // namespace ssi
