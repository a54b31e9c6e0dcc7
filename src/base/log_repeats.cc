#include "base/log_repeats.h"

#include <algorithm>

namespace runnel::log {

namespace {

std::string key_of(const Line& line) {
  auto key = fmt::format("{}\n{}", static_cast<int>(line.level), line.message);
  for (const auto& [name, value] : line.fields) key += fmt::format("\n{}\n{}", name, value);
  return key;
}

std::string text_of(std::chrono::seconds window) {
  return fmt::format("{} s", window.count());
}

Line counted(Line line, uint64_t held, std::chrono::seconds window) {
  line.message += fmt::format(" ({} times more in {})", held, text_of(window));
  line.fields.emplace_back("repeated", std::to_string(held));
  return line;
}

Line counted_site(std::string_view site, Level level, uint64_t held, std::chrono::seconds window) {
  return {.level = level,
          .message = fmt::format("{} more lines like \"{}\" in {} are not written", held, site,
                                 text_of(window)),
          .fields = {{"repeated", std::to_string(held)}}};
}

uint64_t most_of_site(Level level) {
  return level >= Level::kWarning ? Repeats::kMostWarnings : Repeats::kMostOfSite;
}

}  // namespace

void Repeats::Window::start(SteadyTime now) {
  since = now;
  held = 0;
  waits = false;
}

bool Repeats::admit(std::string_view site, const Line& line, SteadyTime now) {
  auto key = key_of(line);
  const auto at = same_.find(key);
  if (at != same_.end() && at->second.window.open(now)) {
    ++at->second.window.held;
    return false;
  }
  auto& of_site =
      sites_.try_emplace(site, Site{.level = line.level, .window = {.since = now}}).first->second;
  if (!of_site.window.open(now)) {
    of_site.window.start(now);
    of_site.written = 0;
  }
  next_due_ = std::min(next_due_, of_site.window.since + of_site.window.length);
  if (of_site.written >= most_of_site(of_site.level)) {
    ++of_site.window.held;
    return false;
  }
  ++of_site.written;
  if (at != same_.end()) {
    at->second.window.start(now);
    next_due_ = std::min(next_due_, now + at->second.window.length);
  } else if (same_.size() < kMostLines) {
    same_.emplace(std::move(key), Same{.line = line, .window = {.since = now}});
    next_due_ = std::min(next_due_, now + kWindow);
  }
  return true;
}

bool Repeats::stays(Window& window, bool busy, SteadyTime now,
                    const std::function<void(const Window&)>& held) {
  if (now - window.since >= window.length) {
    if (window.held == 0 && (!busy || window.waits)) return false;
    if (window.held > 0) held(window);
    window = {.since = now,
              .length = std::min<std::chrono::seconds>(2 * window.length, kLongestWindow),
              .held = 0,
              .waits = true};
  }
  next_due_ = std::min(next_due_, window.since + window.length);
  return true;
}

std::vector<Line> Repeats::due(SteadyTime now) {
  std::vector<Line> lines;
  if (now < next_due_) return lines;
  next_due_ = SteadyTime::max();
  for (auto at = same_.begin(); at != same_.end();) {
    auto& same = at->second;
    const bool kept = stays(same.window, false, now, [&](const Window& window) {
      lines.push_back(counted(same.line, window.held, window.length));
    });
    at = kept ? std::next(at) : same_.erase(at);
  }
  for (auto at = sites_.begin(); at != sites_.end();) {
    const auto level = at->second.level;
    const bool busy = at->second.written > most_of_site(level) / 4;
    const bool kept = stays(at->second.window, busy, now, [&](const Window& window) {
      lines.push_back(counted_site(at->first, level, window.held, window.length));
    });
    at = kept ? std::next(at) : sites_.erase(at);
  }
  return lines;
}

std::vector<Line> Repeats::rest() {
  std::vector<Line> lines;
  for (const auto& [key, same] : same_)
    if (same.window.held > 0)
      lines.push_back(counted(same.line, same.window.held, same.window.length));
  for (const auto& [name, site] : sites_)
    if (site.window.held > 0)
      lines.push_back(counted_site(name, site.level, site.window.held, site.window.length));
  same_.clear();
  sites_.clear();
  next_due_ = SteadyTime::max();
  return lines;
}

}  // namespace runnel::log
