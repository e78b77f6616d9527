// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS 1.3 on a non-blocking socket, with self-signed Ed25519 certificates: who the peer is, is its key and nothing
// else. The only file that names OpenSSL (with tls.cc).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/fd.h"
#include "common/identity.h"
#include "common/result.h"

struct ssl_st;
struct ssl_ctx_st;

namespace ssi {

class TlsStream {
 public:
  enum class Side { home, guest };  // home is the TLS client

  // What a call that would block waits for.
  enum class Wants { nothing, read, write };

  struct Progress {
    std::size_t bytes = 0;  // moved; 0 with wants == nothing is end of file
    Wants wants = Wants::nothing;
  };

  // `peer` is the only Ed25519 key to accept; empty accepts any key that proves itself.
  TlsStream(Fd socket, Side side, const Identity& self, std::string peer);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  int fd() const { return socket_.get(); }
  const std::string& peer_key() const { return peer_; }  // authenticated once handshake() is done

  Result<Progress> handshake();  // done when wants == nothing
  Result<Progress> read(std::span<char> into);
  Result<Progress> write(std::span<const char> from);

 private:
  Result<Progress> judge(int result, const char* doing);
  bool accept_key(const std::string& key);
  friend int verify_peer_certificate(int, void*);

  Fd socket_;
  std::string peer_;
  std::string refused_;  // why the peer's certificate was refused
  ssl_ctx_st* context_ = nullptr;
  ssl_st* ssl_ = nullptr;
};

}  // namespace ssi
