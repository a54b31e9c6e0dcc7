#include "cli/report.h"

#include <unistd.h>

#include <cstdio>

namespace runnel::cli {

namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);

}  // namespace

int report(const Failure& failure) {
  const bool usage = failure.kind == Failure::Kind::kUsage;
  const auto text =
      fmt::format("runnel: {}{}\n", usage ? "Usage error: " : "", failure.error.message);
  (void)std::fputs(text.c_str(), stderr);  // fmt::print throws where nobody reads
  return usage ? 2 : 1;
}

std::string amount(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

void ProgressLine::show(const std::string& text) {
  const auto now = Clock::now();
  if (!terminal_ || now < next_ || text == last_) return;
  next_ = now + kInterval;
  last_ = text;
  shown_ = true;
  fmt::print(stderr, "\r\033[K{}", text);
}

}  // namespace runnel::cli
