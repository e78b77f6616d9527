// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/wire.h"

#include <array>
#include <tuple>

#include "common/wire_msgpack.h"

namespace ssi::wire {
namespace {

// Bounds what a hostile peer can make us allocate: `dd ff ff ff ff` alone asks for 96 GB without them.
const msgpack::unpack_limit limits(1024, 1024, 1 << 20, 1 << 20, 1 << 20, 16);

template <class Variant, std::size_t I>
Result<Variant> convert_as(const msgpack::object& object) {
  std::variant_alternative_t<I, Variant> message;
  object.convert(message);
  return Variant(std::in_place_index<I>, std::move(message));
}

template <class Variant, std::size_t... I>
Result<Variant> convert_kind(std::size_t kind, const msgpack::object& object, std::index_sequence<I...>) {
  using Convert = Result<Variant> (*)(const msgpack::object&);
  static constexpr std::array<Convert, sizeof...(I)> table{&convert_as<Variant, I>...};
  if (kind >= table.size()) return failure("message of unknown kind " + std::to_string(kind));
  return table[kind](object);
}

template <class Variant>
Result<Variant> convert_kind(std::size_t kind, const msgpack::object& object) {
  return convert_kind<Variant>(kind, object, std::make_index_sequence<std::variant_size_v<Variant>>());
}

bool plausible(const Control& message) {
  if (const auto* placed = std::get_if<Placed>(&message))
    return placed->verdict <= static_cast<std::uint8_t>(Verdict::refused);
  if (const auto* joined = std::get_if<Joined>(&message))
    return joined->state <= static_cast<std::uint8_t>(Joining::refused);
  return true;
}

}  // namespace

namespace detail {
bool unpack_into(std::string_view bytes, const std::function<void(const msgpack::object&)>& take) {
  try {
    std::size_t used = 0;
    const auto handle = msgpack::unpack(bytes.data(), bytes.size(), used, nullptr, nullptr, limits);
    if (used != bytes.size()) return false;
    take(handle.get());
    return true;
  } catch (const std::exception&) {  // msgpack's errors, and bad_alloc
    return false;
  }
}
}  // namespace detail

Bytes encode(const Control& message) {
  msgpack::sbuffer out;
  msgpack::packer packer(out);
  packer.pack_array(2);
  packer.pack(message.index());
  std::visit([&](const auto& fields) { packer.pack(fields); }, message);
  return Bytes(out.data(), out.size());
}

Result<Control> decode_control(std::string_view frame) {
  if (frame.size() > max_control) return failure("control message too large");
  Result<Control> message = failure("malformed control message");
  const bool read = detail::unpack_into(frame, [&](const msgpack::object& object) {
    if (object.type != msgpack::type::ARRAY || object.via.array.size != 2) return;
    message = convert_kind<Control>(object.via.array.ptr[0].as<std::size_t>(), object.via.array.ptr[1]);
  });
  if (!read) return failure("malformed control message");
  if (message && !plausible(*message)) return failure("control message with an unknown enumerator");
  return message;
}

Result<Frame> decode_frame(std::uint16_t kind, std::string_view meta) {
  if (meta.size() > max_meta) return failure("frame metadata too large");
  Result<Frame> message = failure("malformed frame");
  const bool read = detail::unpack_into(
      meta, [&](const msgpack::object& object) { message = convert_kind<Frame>(kind, object); });
  if (!read) return failure("malformed frame of kind " + std::to_string(kind));
  return message;
}

// pack() and unpack() of every frame and of its reply are compiled here, for all who see only their declarations.
namespace {

template <class M>
constexpr auto both() {
  return std::make_tuple(&pack<M>, &unpack<M>);
}

template <class M>
constexpr auto with_reply() {
  if constexpr (requires { typename M::Reply; })
    return std::tuple_cat(both<M>(), both<typename M::Reply>());
  else
    return both<M>();
}

template <class... M>
constexpr auto all_of(const std::variant<M...>*) {
  return std::tuple_cat(with_reply<M>()...);
}

[[gnu::used]] constinit const auto compiled = all_of(static_cast<const Frame*>(nullptr));

}  // namespace

}  // namespace ssi::wire
