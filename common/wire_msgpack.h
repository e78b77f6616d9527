// SPDX-License-Identifier: LGPL-2.1-or-later
// How messages (SSI_FIELDS) become msgpack and are read again: as MSGPACK_DEFINE does it, an array of the fields.
#pragma once

#include <functional>
#include <string_view>

#include "common/wire.h"

#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <msgpack.hpp>

namespace ssi::wire::detail {

template <class T>
concept Message = requires(T& message) {
  message.visit_fields([](auto&...) {});
};

// Throws nothing; false when the bytes are not exactly one object within our limits.
bool unpack_into(std::string_view bytes, const std::function<void(const msgpack::object&)>& take);

}  // namespace ssi::wire::detail

namespace msgpack {
MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) {
  namespace adaptor {

  template <ssi::wire::detail::Message T>
  struct convert<T, void> {
    const msgpack::object& operator()(const msgpack::object& object, T& message) const {
      message.visit_fields(
          [&](auto&... fields) { type::make_define_array(fields...).msgpack_unpack(object); });
      return object;
    }
  };

  template <ssi::wire::detail::Message T>
  struct pack<T, void> {
    template <class Stream>
    packer<Stream>& operator()(packer<Stream>& out, const T& message) const {
      message.visit_fields(
          [&](const auto&... fields) { type::make_define_array(fields...).msgpack_pack(out); });
      return out;
    }
  };

  }  // namespace adaptor
}
}  // namespace msgpack

namespace ssi::wire {

template <class T>
Bytes pack(const T& message) {
  msgpack::sbuffer out;
  msgpack::pack(out, message);
  return Bytes(out.data(), out.size());
}

template <class T>
Result<T> unpack(std::string_view bytes) {
  T message;
  if (!detail::unpack_into(bytes, [&](const msgpack::object& object) { object.convert(message); }))
    return failure("malformed message");
  return message;
}

}  // namespace ssi::wire
