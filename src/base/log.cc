#include "base/log.h"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/log_repeats.h"
#include "base/log_sink.h"
#include "base/quote.h"

namespace runnel::log {

namespace {

class Logger {
 public:
  void open(const Options& options) {
    level = options.level;
    const std::lock_guard lock(mutex_);
    sink_ = std::make_unique<Sink>(options.format);
  }

  void write(std::string_view site, const Line& line) {
    const auto now = clock_.now();
    const std::lock_guard lock(mutex_);
    write_due(now);
    // Who asks for debugging wants to see all of it.
    if (line.level == Level::kDebug || repeats_.admit(site, line, now)) {
      sink_->write(line, clock_.wall());
    }
  }

  void tick() {
    const std::lock_guard lock(mutex_);
    write_due(clock_.now());
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    for (const auto& line : repeats_.rest()) sink_->write(line, clock_.wall());
  }

  std::atomic<Level> level = Level::kInfo;

 private:
  void write_due(SteadyTime now) {
    sink_->tell_lost(clock_.wall());
    for (const auto& line : repeats_.due(now)) sink_->write(line, clock_.wall());
  }

  const SystemClock clock_;
  std::mutex mutex_;
  std::unique_ptr<Sink> sink_ = std::make_unique<Sink>(Format::kText);
  Repeats repeats_;
};

// Never destroyed, because threads may write to the very end. What was held back is told then.
Logger& logger() {
  static Logger* const instance = [] {
    std::atexit([] { logger().finish(); });
    return new Logger;
  }();
  return *instance;
}

}  // namespace

Result<Level> parse_level(std::string_view text) {
  for (const auto level : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (text == to_string(level)) return level;
  }
  return fail(Code::kInvalid, "{} is no level of the log: debug, info, warning or error",
              quote(text));
}

Result<Format> parse_format(std::string_view text) {
  if (text == "auto") return Format::kAuto;
  if (text == "text") return Format::kText;
  if (text == "json") return Format::kJson;
  if (text == "journal") return Format::kJournal;
  return fail(Code::kInvalid, "{} is no form of the log: auto, text, json or journal", quote(text));
}

void open(const Options& options) {
  logger().open(options);
}
void tick() {
  logger().tick();
}
bool enabled(Level level) {
  return level >= logger().level.load(std::memory_order_relaxed);
}
void write(Level level, std::string_view site, Fields fields, std::string message) {
  logger().write(site,
                 {.level = level, .message = std::move(message), .fields = std::move(fields)});
}

}  // namespace runnel::log
