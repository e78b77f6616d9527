// SPDX-License-Identifier: LGPL-2.1-or-later
// What the environment does wrong is returned, never thrown: Result<T>, an error_code and what was being done.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace ssi {

// What failed, and on what: "connect /run/ssi/deputy.sock: Permission denied".
struct Error {
  std::error_code code;
  std::string doing;

  // One line for a person. A bare message (see `failure`) is printed as it is.
  std::string text() const { return code ? doing + ": " + code.message() : doing; }
};

template <class T>
using Result = tl::expected<T, Error>;

using Status = Result<void>;

// An errno and what was being done. Reads `errno` by default, so call it before anything can change that.
inline tl::unexpected<Error> os_error(std::string doing, int error = errno) {
  return tl::make_unexpected(Error{std::error_code(error, std::generic_category()), std::move(doing)});
}

// A failure that no errno describes; `what` is the whole line.
inline tl::unexpected<Error> failure(std::string what) {
  return tl::make_unexpected(Error{{}, std::move(what)});
}

// Passes another Result's error on, with what was being done put before it.
inline tl::unexpected<Error> because(std::string doing, const Error& cause) {
  return tl::make_unexpected(Error{cause.code, std::move(doing) + ": " + cause.doing});
}

}  // namespace ssi
