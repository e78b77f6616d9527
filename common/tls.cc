// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>

namespace ssi {
namespace {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, FreeWith<X509_free>>;

// OpenSSL fails to build these only for want of memory.
template <class T>
T must(T value) {
  if (!value) std::abort();
  return value;
}

std::string raw_key(X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  std::string raw(32, '\0');
  std::size_t size = raw.size();
  if (!key || EVP_PKEY_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size) != 1 ||
      size != raw.size())
    return {};
  return raw;
}

// A certificate that says nothing but its key: names and dates are never looked at.
Certificate self_signed(EVP_PKEY* key) {
  Certificate certificate(must(X509_new()));
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 60L * 60 * 24 * 3650);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("ssi"), -1, -1,
                             0);
  X509_set_issuer_name(certificate.get(), name);
  must(X509_set_pubkey(certificate.get(), key));
  must(X509_sign(certificate.get(), key, nullptr));
  return certificate;
}

std::string last_tls_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "the connection was closed";
}

int clamp(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max()));
}

}  // namespace

int verify_peer_certificate(int, void* raw) {
  auto* store = static_cast<X509_STORE_CTX*>(raw);
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* self = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  X509* certificate = X509_STORE_CTX_get0_cert(store);
  return certificate && self->accept_key(raw_key(certificate)) ? 1 : 0;
}

TlsStream::TlsStream(Fd socket, Side side, const Identity& self, std::string peer)
    : socket_(std::move(socket)), peer_(std::move(peer)) {
  const auto seed = self.seed();
  const Key key(must(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(seed.data()), seed.size())));
  const auto certificate = self_signed(key.get());
  context_ = must(SSL_CTX_new(TLS_method()));
  SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
  must(SSL_CTX_set_ciphersuites(context_, "TLS_AES_128_GCM_SHA256"));
  must(SSL_CTX_use_certificate(context_, certificate.get()));
  must(SSL_CTX_use_PrivateKey(context_, key.get()));
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(
      context_, [](X509_STORE_CTX* store, void*) { return verify_peer_certificate(0, store); }, nullptr);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context_, 0);
  SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context_, 1);
  SSL_CTX_set_default_read_buffer_len(context_, 128 << 10);
  ssl_ = must(SSL_new(context_));
  SSL_set_app_data(ssl_, this);
  must(SSL_set_fd(ssl_, socket_.get()));
  if (side == Side::home)
    SSL_set_connect_state(ssl_);
  else
    SSL_set_accept_state(ssl_);
}

TlsStream::~TlsStream() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

bool TlsStream::accept_key(const std::string& key) {
  if (key.empty()) {
    refused_ = "the peer's certificate carries no Ed25519 key";
    return false;
  }
  if (!peer_.empty() && key != peer_) {
    refused_ = "the peer has key " + fingerprint(key) + ", expected " + fingerprint(peer_);
    return false;
  }
  peer_ = key;
  return true;
}

Result<TlsStream::Progress> TlsStream::judge(int result, const char* doing) {
  const int saved = errno;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_NONE:
      return Progress{static_cast<std::size_t>(std::max(result, 0)), Wants::nothing};
    case SSL_ERROR_WANT_READ:
      return Progress{0, Wants::read};
    case SSL_ERROR_WANT_WRITE:
      return Progress{0, Wants::write};
    case SSL_ERROR_ZERO_RETURN:
      return Progress{0, Wants::nothing};
    case SSL_ERROR_SYSCALL:
      if (saved != 0) {
        ERR_clear_error();
        return os_error(doing, saved);
      }
      [[fallthrough]];
    default:
      if (!refused_.empty()) return failure(refused_);
      return failure(std::string(doing) + ": " + last_tls_error());
  }
}

Result<TlsStream::Progress> TlsStream::handshake() {
  ERR_clear_error();  // the queue is the thread's: another session's failure must not be taken for ours
  errno = 0;
  return judge(SSL_do_handshake(ssl_), "TLS handshake");
}

Result<TlsStream::Progress> TlsStream::read(std::span<char> into) {
  ERR_clear_error();
  errno = 0;
  return judge(SSL_read(ssl_, into.data(), clamp(into.size())), "read from the session");
}

Result<TlsStream::Progress> TlsStream::write(std::span<const char> from) {
  ERR_clear_error();
  errno = 0;
  return judge(SSL_write(ssl_, from.data(), clamp(from.size())), "write to the session");
}

}  // namespace ssi
