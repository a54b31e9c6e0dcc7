#include "engine/silence.h"

#include <algorithm>

namespace runnel::engine {

namespace {

constexpr int kProbesPerTimeout = 4;
constexpr int kInVainBeforeLess = 8;
constexpr int kLeast = 8;  // a part of while_silent()

}  // namespace

bool Silence::failed(uint64_t layer, SteadyTime taken, SteadyTime now,
                     const cache::SourceSigns& signs) {
  // After so long without a read that failed, the next one may find out anew.
  std::erase_if(layers_, [&](const auto& each) { return each.second.failed + timeout_ < now; });
  if (const auto known = layers_.find(layer); known != layers_.end()) {
    known->second.failed = now;
    ++known->second.in_vain;
    return false;
  }
  const bool waited = now - taken >= timeout_ / 2;
  const bool asked = signs.asked > taken - timeout_;
  const bool gives_others = signs.chunk >= taken;
  if (!waited || !asked || (gives_others && !one_by_one_)) return false;
  layers_[layer] = {.taken = taken, .noticed = now, .failed = now, .gives_others = gives_others};
  return true;
}

std::optional<SteadyTime> Silence::until(uint64_t layer, SteadyTime since,
                                         const cache::SourceSigns& signs) {
  const auto known = layers_.find(layer);
  if (known == layers_.end()) return std::nullopt;
  const auto& silent = known->second;
  const bool over =
      silent.gives_others ? since >= silent.noticed + timeout_ : signs.chunk >= silent.taken;
  if (over) {
    layers_.erase(known);
    return std::nullopt;
  }
  if (silent.gives_others) return std::max(silent.noticed, since) + patience(silent.in_vain);
  const bool drips = signs.bytes >= silent.taken;
  return std::max(drips ? silent.noticed + timeout_ / 2 : silent.noticed,
                  std::max(silent.noticed, since) + while_silent());
}

Duration Silence::patience(int in_vain) const {
  return while_silent() / std::min(1 << std::min(in_vain / kInVainBeforeLess, 8), kLeast);
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
