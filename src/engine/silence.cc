#include "engine/silence.h"

#include <algorithm>

namespace runnel::engine {

namespace {

constexpr int kProbesPerTimeout = 4;

}  // namespace

bool Silence::failed(uint64_t layer, SteadyTime taken, SteadyTime now,
                     const cache::SourceSigns& signs) {
  // After so long without a read that failed, the next one may find out anew.
  std::erase_if(layers_, [&](const auto& each) { return each.second.failed + timeout_ < now; });
  if (const auto known = layers_.find(layer); known != layers_.end()) {
    known->second.failed = now;
    return false;
  }
  const bool waited = now - taken >= timeout_ / 2;
  const bool asked = signs.asked > taken - timeout_;
  if (!waited || !asked || signs.chunk >= taken) return false;
  layers_[layer] = {.taken = taken, .noticed = now, .failed = now};
  return true;
}

std::optional<SteadyTime> Silence::until(uint64_t layer, SteadyTime since,
                                         const cache::SourceSigns& signs) {
  const auto known = layers_.find(layer);
  if (known == layers_.end()) return std::nullopt;
  const auto& silent = known->second;
  if (signs.chunk >= silent.taken) {
    layers_.erase(known);
    return std::nullopt;
  }
  const bool drips = signs.bytes >= silent.taken;
  return std::max(drips ? silent.noticed + timeout_ / 2 : silent.noticed,
                  std::max(silent.noticed, since) + while_silent());
}

bool Silence::probe(uint64_t layer, SteadyTime now) {
  const auto known = layers_.find(layer);
  if (known == layers_.end() || now < known->second.probed + timeout_ / kProbesPerTimeout) {
    return false;
  }
  known->second.probed = now;
  return true;
}

}  // namespace runnel::engine
