// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/wire.h"

#include <doctest/doctest.h>

#include <random>

#include "common/wire_msgpack.h"

using namespace ssi;
using namespace ssi::wire;

namespace {

// One of each kind of a variant, as it is made.
template <class Variant, std::size_t... I>
std::vector<Variant> one_of_each(std::index_sequence<I...>) {
  return {Variant(std::in_place_index<I>)...};
}
template <class Variant>
std::vector<Variant> one_of_each() {
  return one_of_each<Variant>(std::make_index_sequence<std::variant_size_v<Variant>>());
}

Bytes meta_of(const Frame& frame) {
  return std::visit([](const auto& fields) { return pack(fields); }, frame);
}

Report full_report() {
  Report report;
  report.name = "guest1";
  report.key = Bytes("\x00\xff\x80", 3);
  report.address = "198.18.0.2:7000";
  report.boot = ~std::uint64_t{0};
  report.cpus = 8;
  report.speed = 1.25;
  report.jobs = {1, 2, ~std::uint64_t{0}};
  return report;
}

// A frame from raw msgpack: [kind, fields].
Bytes control(const std::function<void(msgpack::packer<msgpack::sbuffer>&)>& fields, std::uint64_t kind) {
  msgpack::sbuffer out;
  msgpack::packer packer(out);
  packer.pack_array(2);
  packer.pack(kind);
  fields(packer);
  return {out.data(), out.size()};
}

}  // namespace

TEST_CASE("each kind of both planes survives the way") {
  for (const auto& message : one_of_each<Control>()) {
    const auto back = decode_control(encode(message));
    REQUIRE(back);
    CHECK(back->index() == message.index());
    CHECK(encode(*back) == encode(message));
  }
  for (const auto& frame : one_of_each<Frame>()) {
    const auto back = decode_frame(static_cast<std::uint16_t>(frame.index()), meta_of(frame));
    REQUIRE(back);
    CHECK(back->index() == frame.index());
    CHECK(meta_of(*back) == meta_of(frame));
  }
}

TEST_CASE("fields keep their values, bytes need not be text") {
  const auto back = decode_control(encode(full_report()));
  REQUIRE(back);
  const auto& report = std::get<Report>(*back);
  CHECK(report.version == version);
  CHECK(report.key == Bytes("\x00\xff\x80", 3));
  CHECK(report.boot == ~std::uint64_t{0});
  CHECK(report.speed == 1.25);
  CHECK(report.pressure_cpu == -1);
  CHECK(report.jobs == std::vector<std::uint64_t>{1, 2, ~std::uint64_t{0}});
}

TEST_CASE("an older peer's message lacks fields, a newer one's has more") {
  const auto older = decode_control(control([](auto& packer) { packer.pack_array(0); }, 0));
  REQUIRE(older);
  CHECK(std::get<Report>(*older).pressure_cpu == -1);
  const auto newer = decode_control(control(
      [](auto& packer) {
        packer.pack_array(3);
        packer.pack(5);
        packer.pack(6);
        packer.pack("of the future");
      },
      1));
  REQUIRE(newer);
  CHECK(std::get<ReportTaken>(*newer).epoch == 6);
}

TEST_CASE("truncation at every byte, and every byte too many") {
  const auto whole = encode(full_report());
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(decode_control(whole.substr(0, size)));
  for (int byte = 0; byte < 256; ++byte) CHECK_FALSE(decode_control(whole + static_cast<char>(byte)));
  const auto meta = pack(Mounts{{Mount{1, "/", 2, 0}}});
  for (std::size_t size = 0; size < meta.size(); ++size) CHECK_FALSE(unpack<Mounts>(meta.substr(0, size)));
  CHECK_FALSE(unpack<Mounts>(meta + meta));
}

TEST_CASE("unknown kinds and enumerators") {
  for (const auto kind : {std::variant_size_v<Control>, std::size_t{255}, ~std::size_t{0}}) {
    const auto refused = decode_control(control([](auto& packer) { packer.pack_array(0); }, kind));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().text() == "message of unknown kind " + std::to_string(kind));
  }
  CHECK_FALSE(decode_frame(std::variant_size_v<Frame>, pack(None{})));
  CHECK_FALSE(decode_frame(0xffff, pack(None{})));
  Placed placed;
  placed.verdict = 3;
  CHECK(decode_control(encode(placed)));
  placed.verdict = 4;
  CHECK_FALSE(decode_control(encode(placed)));
  CHECK(decode_control(encode(Joined{2, "", "the token has expired"})));
  CHECK_FALSE(decode_control(encode(Joined{3, "", ""})));
}

TEST_CASE("wrong types and wrong shapes") {
  const auto with = [](auto pack_fields) { return decode_control(control(pack_fields, 1)); };
  CHECK_FALSE(with([](auto& packer) { packer.pack("text"); }));
  CHECK_FALSE(with([](auto& packer) { packer.pack_nil(); }));
  CHECK_FALSE(with([](auto& packer) { packer.pack_map(0); }));
  CHECK_FALSE(with([](auto& packer) {
    packer.pack_array(1);
    packer.pack("not a number");
  }));
  CHECK_FALSE(with([](auto& packer) {
    packer.pack_array(1);
    packer.pack(-1);
  }));
  for (const Bytes& frame : {Bytes(), Bytes("\xc0"), Bytes("\x90"), Bytes("\x91\x00", 2),
                             Bytes("\x93\x01\x90\x90"), Bytes("\x92\xff\x90"), Bytes("\x92\xa1x\x90")})
    CHECK_FALSE(decode_control(frame));
}

TEST_CASE("sizes that would ask for gigabytes, and depth") {
  for (const Bytes& claim :
       {Bytes("\xdd\xff\xff\xff\xff"), Bytes("\xdf\xff\xff\xff\xff"), Bytes("\xdb\xff\xff\xff\xff"),
        Bytes("\xc6\xff\xff\xff\xff"), Bytes("\xc9\xff\xff\xff\xff\x01")}) {
    CHECK_FALSE(decode_control(claim));
    CHECK_FALSE(decode_control(Bytes("\x92\x01") + claim));
    CHECK_FALSE(decode_frame(1, claim));
  }
  CHECK_FALSE(decode_control(Bytes(1'000'000, '\x91')));
  CHECK_FALSE(decode_frame(0, Bytes(200'000, '\x91')));
  CHECK_FALSE(decode_control(Bytes("\x92\x01") + Bytes(17, '\x91') + "\x01"));
  CHECK_FALSE(decode_control(Bytes(max_control + 1, '\x01')));
  CHECK_FALSE(decode_frame(0, Bytes(max_meta + 1, '\x01')));
  Report crowded;
  crowded.jobs.resize(1025);
  CHECK_FALSE(decode_control(encode(crowded)));
  crowded.jobs.resize(1024);
  CHECK(decode_control(encode(crowded)));
}

TEST_CASE("random bytes, and valid messages with random damage") {
  std::mt19937 random(20240607);
  const auto byte = [&] { return static_cast<char>(random()); };
  std::size_t accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes noise(random() % 64, '\0');
    for (auto& c : noise) c = byte();
    accepted += decode_control(noise).has_value();
    accepted += decode_frame(static_cast<std::uint16_t>(random() % 64), noise).has_value();
  }
  const auto messages = one_of_each<Control>();
  const auto frames = one_of_each<Frame>();
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = encode(i % 4 ? messages[random() % messages.size()] : Control(full_report()));
    for (auto damage = 1 + random() % 4; damage > 0; --damage) bytes[random() % bytes.size()] = byte();
    accepted += decode_control(bytes).has_value();
    const auto& frame = frames[random() % frames.size()];
    auto meta = meta_of(frame);
    meta[random() % meta.size()] = byte();
    accepted += decode_frame(static_cast<std::uint16_t>(frame.index()), meta).has_value();
  }
  // Harmless damage passes; what matters is that nothing threw, crashed or allocated without bound.
  CHECK(accepted > 0);
}
