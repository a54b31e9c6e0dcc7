// How commands speak: errors, progress and amounts.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel::cli {

// What begins the message of an error in what somebody typed; ACR's client begins it so.
inline constexpr std::string_view kUsageError = "Usage error: ";

// return usage_error("--image IMAGE | --repository REPOSITORY");
template <class... Args>
std::unexpected<Error> usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(
      Code::kInvalid, std::string(kUsageError) + fmt::format(format, std::forward<Args>(args)...)));
}

// What came of parsing something that was typed: its error becomes a usage_error().
template <class T>
Result<T> typed(Result<T> parsed) {
  if (parsed) return parsed;
  return usage_error("{}", parsed.error().message);
}

// Prints "runnel: message" to standard error; returns the exit code: 2 for a usage_error(), else 1.
// The one place that tells the two apart.
int report(const Error& error);

// "1.5 MiB".
std::string amount(uint64_t bytes);

// One line that is written over, where standard error is a terminal; nothing elsewhere.
class ProgressLine {
 public:
  ProgressLine();
  // Ends the line, if there is one.
  ~ProgressLine();
  void show(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  const bool terminal_;
  bool shown_ = false;
  std::string last_;
  Clock::time_point next_{};
};

}  // namespace runnel::cli
