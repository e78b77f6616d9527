// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/command_key.h"

#include <sodium.h>

#include <algorithm>
#include <cctype>

namespace ssi {
namespace {

constexpr std::size_t max_arguments = 512;  // those behind change no key
constexpr std::size_t max_word = 32, max_extension = 8, max_shape = 2048;

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c));
}
bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c));
}
bool is_word_char(char c) {
  return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == ':' || c == '+';
}

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= max_word && is_letter(text.front()) &&
         std::ranges::all_of(text, is_word_char);
}

// "23", "-1.5", "4M", "50%", "1280x720", "00:01:30": digits with separators, and up to three letters of a unit.
bool is_number(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text.empty() || !is_digit(text.front())) return false;
  const auto end = text.find_first_not_of("0123456789.,:xX/");
  if (end == std::string_view::npos) return true;
  const auto unit = text.substr(end);
  return is_digit(text[end - 1]) && unit.size() <= 3 &&
         std::ranges::all_of(unit, [](char c) { return is_letter(c) || c == '%'; });
}

// ".mkv" of "a/b.mkv", lower case; empty when there is none.
std::string extension(std::string_view path) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size() ||
      name.size() - dot - 1 > max_extension)
    return {};
  std::string found(name.substr(dot));
  for (auto& c : found) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto letters = std::string_view(found).substr(1);
  const bool plain = std::ranges::all_of(letters, [](char c) { return is_letter(c) || is_digit(c); });
  return plain && std::ranges::any_of(letters, is_letter) ? found : std::string();
}

std::string value_class(std::string_view value) {
  if (value.empty()) return "TEXT";
  if (is_number(value)) return "N";
  if (is_word(value)) return std::string(value);
  if (value.find_first_of(" \t\n=") == std::string_view::npos)
    if (const auto found = extension(value); !found.empty()) return "*" + found;
  if (value.find(' ') == std::string_view::npos && value.find('/') != std::string_view::npos) return "PATH";
  return "TEXT";
}

// "-crf" and "-O2" stay; "--out=a.mkv" is "--out=*.mkv", "-I/usr/include" "-IPATH".
std::string argument_class(std::string_view argument) {
  if (const auto equals = argument.find('='); equals != std::string_view::npos && equals > 0) {
    const auto name = argument.substr(0, equals);
    if (name.size() <= max_word && std::ranges::all_of(name, is_word_char))
      return std::string(name) + "=" + value_class(argument.substr(equals + 1));
  }
  if (argument.size() < 2 || argument.front() != '-' || is_number(argument))
    return argument == "-" ? "-" : value_class(argument);
  if (argument.size() <= max_word && std::ranges::all_of(argument, is_word_char))
    return std::string(argument);
  return std::string(argument.substr(0, 2)) + value_class(argument.substr(2));
}

// Takes away the last `period` words when they equal those before, and marks it.
bool collapse(std::vector<std::string>& words, std::size_t period) {
  const bool is_marked = words.size() > 2 * period && words[words.size() - period - 1] == "+";
  const std::size_t before = period + (is_marked ? 1 : 0);
  if (words.size() < period + before) return false;
  const auto last = words.end() - static_cast<std::ptrdiff_t>(period);
  if (!std::equal(last, words.end(), last - static_cast<std::ptrdiff_t>(before))) return false;
  words.erase(last, words.end());
  if (!is_marked) words.emplace_back("+");
  return true;
}

}  // namespace

std::string argument_shape(const std::vector<std::string>& argv) {
  std::vector<std::string> words;
  for (std::size_t i = 1; i < std::min(argv.size(), max_arguments); ++i) {
    words.push_back(argument_class(argv[i]));
    if (!collapse(words, 1)) collapse(words, 2);
  }
  std::string shape;
  for (const auto& word : words) shape += (shape.empty() ? "" : " ") + word;
  shape.resize(std::min(shape.size(), max_shape));
  return shape;
}

std::string command_key(const Executable& executable, std::string_view shape) {
  crypto_generichash_state state;
  unsigned char hash[crypto_generichash_BYTES_MIN];
  crypto_generichash_init(&state, nullptr, 0, sizeof hash);
  const std::uint64_t numbers[] = {executable.device, executable.inode, executable.size,
                                   static_cast<std::uint64_t>(executable.mtime_ns)};
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(numbers), sizeof numbers);
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(shape.data()), shape.size());
  crypto_generichash_final(&state, hash, sizeof hash);
  char text[17];
  sodium_bin2hex(text, sizeof text, hash, 8);
  return text;
}

}  // namespace ssi
