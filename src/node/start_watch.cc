#include "node/start_watch.h"

#include <algorithm>

namespace runnel::node {

namespace {

// The reference for these is the service that this re-creates: docs/registry.md, "Profiles".
constexpr auto kQuiet = std::chrono::seconds(2);
constexpr auto kLongest = std::chrono::seconds(30);
constexpr auto kRetry = std::chrono::minutes(1);
constexpr int kMaxFailures = 3;

bool is_over(const StartWatch::Start& start, SteadyTime now) {
  if (!start.first_touch) return false;
  return now - start.last_touch >= kQuiet || now - *start.first_touch >= kLongest;
}

}  // namespace

std::vector<oci::Digest> StartWatch::over(const std::vector<Start>& starts, SteadyTime now) {
  std::erase_if(told_, [&](const auto& entry) {
    const auto same = [&](const Start& each) {
      return each.image == entry.first && each.mounted == entry.second.mounted;
    };
    return std::ranges::none_of(starts, same);
  });
  std::vector<oci::Digest> due;
  for (const auto& start : starts) {
    const auto found = told_.find(start.image);
    if (found == told_.end()) {
      if (!is_over(start, now)) continue;
      told_.emplace(start.image, Told{.mounted = start.mounted});
    } else if (found->second.again && *found->second.again <= now) {
      found->second.again.reset();
    } else {
      continue;
    }
    due.push_back(start.image);
  }
  return due;
}

void StartWatch::failed(const oci::Digest& image, SteadyTime now) {
  const auto found = told_.find(image);
  if (found == told_.end() || ++found->second.failures >= kMaxFailures) return;
  found->second.again = now + kRetry;
}

}  // namespace runnel::node
