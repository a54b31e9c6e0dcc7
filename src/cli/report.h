// How commands speak: errors, progress and amounts.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/error.h"

namespace runnel::cli {

// Prints "runnel: message" to standard error; returns exit code 1.
int report(const Error& error);

// "1.5 MiB".
std::string amount(uint64_t bytes);

// One line on standard error that is written over on a terminal, and only now and then elsewhere.
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
