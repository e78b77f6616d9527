// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/allow_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "common/allow_table.h"

namespace ssi {
namespace {

// At most half full: a miss, the usual case, ends after one or two probes.
std::uint32_t slots_for(std::size_t names) {
  return static_cast<std::uint32_t>(std::bit_ceil(std::max<std::size_t>(8, 2 * names)));
}

template <class T>
T read_at(std::string_view bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

bool is_table(std::string_view bytes, const allow_header& header) {
  return header.magic == ALLOW_MAGIC && header.version == ALLOW_VERSION && header.size == bytes.size() &&
         std::has_single_bit(header.slots) &&
         (bytes.size() - sizeof header) / sizeof(allow_entry) >= header.slots && bytes.back() == '\0';
}

}  // namespace

Result<std::string> make_allow_table(const AllowedNames& names, const std::string& ssirun,
                                     std::uint32_t generation, std::uint32_t flags) {
  const auto slots = slots_for(names.size());
  std::vector<allow_entry> entries(slots);
  const auto strings_at = sizeof(allow_header) + slots * sizeof(allow_entry);
  std::string strings = ssirun + '\0';
  for (const auto& [name, rule] : names) {
    const auto hash = allow_hash(name.c_str());
    auto slot = hash;
    while (entries[slot & (slots - 1)].name) slot++;
    entries[slot & (slots - 1)] = {hash, static_cast<std::uint32_t>(strings_at + strings.size()), rule, 0};
    strings += name + '\0';
  }
  const auto size = strings_at + strings.size();
  if (size > ALLOW_MAX)
    return failure("the allow-list has too many names: " + std::to_string(names.size()) +
                   " make a table of " + std::to_string(size) + " bytes, and the limit is " +
                   std::to_string(ALLOW_MAX));
  const allow_header header{ALLOW_MAGIC,
                            ALLOW_VERSION,
                            flags,
                            generation,
                            slots,
                            static_cast<std::uint32_t>(strings_at),
                            static_cast<std::uint32_t>(size),
                            0};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(allow_entry));
  return bytes + strings;
}

std::optional<std::uint32_t> look_up(std::string_view table, const std::string& basename) {
  if (table.size() <= sizeof(allow_header)) return {};
  const auto header = read_at<allow_header>(table, 0);
  if (!is_table(table, header)) return {};
  const auto hash = allow_hash(basename.c_str());
  for (std::uint32_t probe = 0; probe < header.slots; probe++) {
    const auto slot = (hash + probe) & (header.slots - 1);
    const auto entry = read_at<allow_entry>(table, sizeof header + slot * sizeof(allow_entry));
    if (!entry.name) return {};
    if (entry.hash == hash && entry.name < table.size() && basename == table.data() + entry.name)
      return entry.rule;
  }
  return {};
}

std::vector<std::string> names_in(std::string_view table) {
  std::vector<std::string> names;
  if (table.size() <= sizeof(allow_header)) return names;
  const auto header = read_at<allow_header>(table, 0);
  if (!is_table(table, header)) return names;
  for (std::uint32_t slot = 0; slot < header.slots; slot++) {
    const auto entry = read_at<allow_entry>(table, sizeof header + slot * sizeof(allow_entry));
    if (entry.name && entry.name < table.size()) names.emplace_back(table.data() + entry.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ssi
