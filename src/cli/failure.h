// Why a command failed: what was typed makes no sense (usage), or what it asks for did not work.
// The exit code tells the two apart (report.h), so scripts can.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace runnel::cli {

// Any Error is one of the second kind. There is no way back to an Error, so no function on the way
// to report() can forget which it was: one that looks at what was typed returns an Outcome.
struct Failure {
  enum class Kind : uint8_t { kError, kUsage };

  Failure(Error e, Kind k = Kind::kError) : error(std::move(e)), kind(k) {}  // NOLINT: implicit

  Error error;
  Kind kind;
};

template <class T>
using Outcome = std::expected<T, Failure>;

// return usage_error("--image IMAGE | --repository REPOSITORY");
template <class... Args>
std::unexpected<Failure> usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(
      Failure(Error(Code::kInvalid, fmt::format(format, std::forward<Args>(args)...)),
              Failure::Kind::kUsage));
}

// What came of parsing something that was typed: its error becomes a usage_error().
template <class T>
Outcome<T> typed(Result<T> parsed) {
  if (parsed) return *std::move(parsed);
  return usage_error("{}", parsed.error().message);
}

}  // namespace runnel::cli
