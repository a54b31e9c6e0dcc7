#include "base/log_repeats.h"

#include <algorithm>

namespace runnel::log {

namespace {

std::string key_of(const Line& line) {
  auto key = fmt::format("{}\n{}", static_cast<int>(line.level), line.message);
  for (const auto& [name, value] : line.fields) key += fmt::format("\n{}\n{}", name, value);
  return key;
}

std::string window_text() {
  return fmt::format("{} s", std::chrono::seconds(Repeats::kWindow).count());
}

Line counted(Line line, uint64_t held) {
  line.message += fmt::format(" ({} times more in {})", held, window_text());
  line.fields.emplace_back("repeated", std::to_string(held));
  return line;
}

Line counted_site(std::string_view site, Level level, uint64_t held) {
  return {.level = level,
          .message = fmt::format("{} more lines like \"{}\" in {} are not written", held, site,
                                 window_text()),
          .fields = {{"repeated", std::to_string(held)}}};
}

}  // namespace

bool Repeats::admit(std::string_view site, const Line& line, SteadyTime now) {
  auto key = key_of(line);
  const auto at = same_.find(key);
  if (at != same_.end() && now - at->second.since < kWindow) {
    ++at->second.held;
    return false;
  }
  next_due_ = std::min(next_due_, now + kWindow);
  auto& of_site = sites_.try_emplace(site, Site{.level = line.level, .since = now}).first->second;
  if (of_site.written >= kMostOfSite && now - of_site.since < kWindow) {
    ++of_site.held;
    return false;
  }
  ++of_site.written;
  if (same_.size() < kMostLines) {
    same_.insert_or_assign(std::move(key), Same{.line = line, .since = now});
  }
  return true;
}

std::vector<Line> Repeats::due(SteadyTime now) {
  std::vector<Line> lines;
  if (now < next_due_) return lines;
  next_due_ = SteadyTime::max();
  const auto stays = [&](SteadyTime since) {
    if (now - since >= kWindow) return false;
    next_due_ = std::min(next_due_, since + kWindow);
    return true;
  };
  std::erase_if(same_, [&](auto& each) {
    auto& same = each.second;
    if (stays(same.since)) return false;
    if (same.held > 0) lines.push_back(counted(std::move(same.line), same.held));
    return true;
  });
  std::erase_if(sites_, [&](const auto& each) {
    const auto& site = each.second;
    if (stays(site.since)) return false;
    if (site.held > 0) lines.push_back(counted_site(each.first, site.level, site.held));
    return true;
  });
  return lines;
}

}  // namespace runnel::log
