#include "node/page_cache_meter.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace runnel::node {

std::map<std::string, uint64_t> PageCacheMeter::measure(
    const std::map<std::string, Measure>& layers) {
  std::vector<std::pair<SteadyTime, std::string>> order;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(seen_, [&](const auto& seen) { return !layers.contains(seen.first); });
    for (const auto& [layer, measure] : layers) order.emplace_back(seen_[layer].at, layer);
  }
  std::ranges::sort(order);
  const auto end = clock_.now() + patience_;
  for (const auto& [measured_at, layer] : order) {
    if (clock_.now() >= end) break;
    const uint64_t bytes = layers.at(layer)();
    const std::lock_guard lock(mutex_);
    seen_[layer] = {.bytes = bytes, .at = clock_.now()};
  }
  std::map<std::string, uint64_t> out;
  const std::lock_guard lock(mutex_);
  for (const auto& [layer, measure] : layers) out[layer] = seen_[layer].bytes;
  return out;
}

}  // namespace runnel::node
