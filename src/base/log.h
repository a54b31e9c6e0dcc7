// The log: what a person or a collector reads of a running service.
//
// A line has a level, a sentence, and fields that say what it is about: image, layer, container.
// Where it goes is chosen once: to systemd's journal with its own fields when standard error is
// connected to it, otherwise to standard error, as text or as one JSON object a line.
//
// A line that comes again within ten seconds is counted and not written; the count follows. So does
// the count of what one place has to say beyond a hundred lines (of warnings twenty) in ten
// seconds: a failing disk must not fill the next one. What goes on is counted over ever longer
// times (5 minutes).
//
// Log an error once, where it is handled. Never log a secret: credentials have no formatter.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace runnel::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// Names are lower-case words; values may be any bytes.
using Fields = std::vector<std::pair<std::string_view, std::string>>;

enum class Format {
  kAuto,     // kJournal when standard error is a stream of the journal, else kText
  kText,     // "2026-11-24T12:00:00.000Z warning sentence layer=sha256:…"
  kJson,     // {"time":…,"level":…,"message":…,"layer":…}
  kJournal,  // RUNNEL_LAYER=… and so on in systemd's journal
};

struct Options {
  Level level = Level::kInfo;  // lines below are dropped
  Format format = Format::kAuto;
};

// "debug", "info", "warning", "error"; "auto", "text", "json", "journal".
Result<Level> parse_level(std::string_view text);
Result<Format> parse_format(std::string_view text);

// Before it is called, lines go to standard error as text. Call it once, early.
void open(const Options& options);

// Writes the counts that are due. Call it about once a second; every written line does so too.
void tick();

// Any thread. `site`: the place in the program. What is not taken at once is lost, and counted.
void write(Level level, std::string_view site, Fields fields, std::string message);
bool enabled(Level level);

// log::warning(log::Fields{{"layer", name}}, "chunk {} came corrupt", chunk);
template <class... Args>
void put(Level level, Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  if (!enabled(level)) return;
  const fmt::string_view site = format;
  write(level, {site.data(), site.size()}, std::move(fields),
        fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kDebug, {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void debug(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kDebug, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kInfo, {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kInfo, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kWarning, {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kWarning, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kError, {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  put(Level::kError, fields, format, std::forward<Args>(args)...);
}

}  // namespace runnel::log
