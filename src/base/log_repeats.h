// Which lines of the log are written, and which are only counted. Pure; internal to the log.
//
// Two counts run side by side. The same line again (level, sentence and fields) within kWindow
// of the first is held back, whoever writes it. And one place in the program writes at most
// kMostOfSite different lines in a window. When a window has ended, due() gives one line that says
// how many were held back, and the next such line is written again.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/log_line.h"

namespace runnel::log {

// Not thread-safe.
class Repeats {
 public:
  static constexpr auto kWindow = std::chrono::seconds(10);
  static constexpr uint64_t kMostOfSite = 100;
  static constexpr size_t kMostLines = 4096;  // remembered; others are only counted by their site

  // Whether the line is to be written now. due(now) was called just before. `site` must live for
  // ever.
  bool admit(std::string_view site, const Line& line, SteadyTime now);

  // The counts of the windows that have ended.
  std::vector<Line> due(SteadyTime now);

 private:
  struct Same {
    Line line;
    SteadyTime since;
    uint64_t held = 0;
  };
  struct Site {
    Level level = Level::kInfo;
    SteadyTime since;
    uint64_t written = 0;
    uint64_t held = 0;
  };

  std::map<std::string, Same> same_;  // by level, sentence and fields
  std::map<std::string_view, Site> sites_;
  SteadyTime next_due_ = SteadyTime::max();  // no window ends before
};

}  // namespace runnel::log
