// Which lines of the log are written, and which are only counted. Pure; internal to the log.
//
// Two counts run side by side. The same line again (level, sentence and fields) within a window
// that began with the first is held back, whoever writes it. And one place in the program writes
// only so many different lines in a window. When a window has ended, due() gives one line that says
// how many were held back, and the next such line is written again. Its window is then twice as
// long, up to kLongestWindow, until one passes without anything to hold back: what goes wrong for
// an hour is told a few times, not once in ten seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
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
  static constexpr auto kWindow = std::chrono::seconds(10);  // the first
  static constexpr auto kLongestWindow = std::chrono::seconds(320);
  static constexpr uint64_t kMostOfSite = 100;
  static constexpr uint64_t kMostWarnings = 20;  // and errors: each place has made its point then
  static constexpr size_t kMostLines = 4096;  // remembered; others are only counted by their site

  // Whether the line is to be written now. due(now) was called just before. `site` must live for
  // ever.
  bool admit(std::string_view site, const Line& line, SteadyTime now);

  // The counts of the windows that have ended.
  std::vector<Line> due(SteadyTime now);
  // The counts of all windows, ended or not, for the end of the process; nothing is held any more.
  std::vector<Line> rest();

 private:
  // From a line that was written, or, when nothing came yet after a window that held lines back
  // (`waits`), from that one's end.
  struct Window {
    SteadyTime since;
    std::chrono::seconds length = kWindow;
    uint64_t held = 0;
    bool waits = false;

    bool open(SteadyTime now) const { return !waits && now - since < length; }
    void start(SteadyTime now);
  };
  struct Same {
    Line line;
    Window window;
  };
  struct Site {
    Level level = Level::kInfo;
    Window window;
    uint64_t written = 0;
  };

  // Whether what it belongs to is still of use; `held` when it has ended and held lines back.
  // `busy`: a longer one follows even if it did not.
  bool stays(Window& window, bool busy, SteadyTime now,
             const std::function<void(const Window&)>& held);

  std::map<std::string, Same> same_;  // by level, sentence and fields
  std::map<std::string_view, Site> sites_;
  SteadyTime next_due_ = SteadyTime::max();  // no window ends before
};

}  // namespace runnel::log
