// How commands speak: errors, progress and amounts.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "cli/failure.h"

namespace runnel::cli {

// Prints "runnel: message", or as ACR's client does "runnel: Usage error: message", to standard
// error; returns the exit code: 2 for wrong usage, else 1.
int report(const Failure& failure);

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
