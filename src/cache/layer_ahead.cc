// Layer: what is noted of first reads, and what is fetched because of them.
#include <algorithm>

#include "cache/layer.h"
#include "cache/read_ahead.h"

namespace runnel::cache {

using fetch::Priority;

namespace {

constexpr auto kAheadTimeout = std::chrono::seconds(60);

}  // namespace

std::vector<Touch> Layer::touches() const {
  const std::lock_guard lock(mutex_);
  return touches_.order();
}

std::optional<TouchSpan> Layer::touched(SteadyTime since) const {
  const std::lock_guard lock(mutex_);
  return touches_.since(since);
}

bool Layer::was_touched_locked(uint32_t first, uint32_t last) const {
  for (uint32_t chunk = first; chunk <= last; ++chunk) {
    if (!touches_.has(chunk)) return false;
  }
  return true;
}

// Notes that a read at `offset` wants the chunk. Whether it is the first one.
bool Layer::touch_locked(uint32_t chunk, uint64_t offset, SteadyTime now) {
  if (touches_.has(chunk)) return false;
  const bool was_here = origins_[chunk] == Origin::kBefore && states_.of(chunk) != State::kAbsent;
  if (!was_here && origins_[chunk] != Origin::kHotPack) missed_bytes_ += table_.at(chunk).size();
  const uint64_t start = table_.at(chunk).device_offset();
  const uint64_t block = (std::max(offset, start) - start) / artifact::kBlockSize;
  return touches_.add({.chunk = chunk,
                       .at = now,
                       .block = static_cast<uint16_t>(block),
                       .origin = origins_[chunk]});
}

// Of the chunk that was touched last.
void Layer::note_wait_locked(uint32_t chunk) {
  const uint32_t touch = touches_.last();
  const auto at = pending_.find(chunk);
  const auto now = workers_.clock.now();
  if (at == pending_.end() || at->second.waiting.empty()) {
    return touches_.ready(touch, {}, now, origins_[chunk]);
  }
  Pending& pending = at->second;
  pending.touch = touch;
  const bool first =
      pending.waiting.size() == 1 && pending.fetches == 0 && !pending.lost && !pending.expected;
  touches_.waits(touch, !first                                ? Wait::kJoined
                        : states_.of(chunk) == State::kAbsent ? Wait::kFetch
                                                              : Wait::kCheck);
}

void Layer::end_wait_locked(uint32_t chunk, const Pending& pending) {
  if (pending.touch == Touches::kNotKept) return;
  touches_.ready(pending.touch, pending.arrived, workers_.clock.now(), origins_[chunk]);
  if (pending.denied) touches_.waits(pending.touch, Wait::kRefused);
}

// Fetches what lies around chunks that were touched just now. Nobody waits for these fetches: one
// that fails is left to whoever comes to need it.
void Layer::read_ahead_of(const std::vector<uint32_t>& touched, bool missed) {
  const auto window = workers_.read_ahead ? ReadAhead::after(source_->round_trip()) : ReadAhead();
  if (window.empty()) return;
  const auto now = workers_.clock.now();
  std::vector<uint32_t> ahead;
  {
    const std::lock_guard lock(mutex_);
    for (const uint32_t chunk : touched) {
      // What came another way, with a hot pack say, tells nothing about its neighbours.
      if (!missed && !came_ahead_[chunk]) continue;
      if (!keeps_much()) want_around_locked(chunk, window, missed, ahead);
    }
    for (const uint32_t chunk : ahead) {
      pending_[chunk].deadline = now + kAheadTimeout;
      came_ahead_[chunk] = true;
      origins_[chunk] = Origin::kAhead;
    }
  }
  fetch_each(ahead, Priority::kPrefetch, now + kAheadTimeout);
}

void Layer::want_around_locked(uint32_t chunk, const ReadAhead& window, bool missed,
                               std::vector<uint32_t>& ahead) const {
  const auto range = window.around(table_, chunk);
  std::vector<uint32_t> absent;
  uint64_t bytes = 0;
  uint64_t plain = 0;
  for (uint32_t each = range.first; each <= range.last; ++each) {
    const bool known = states_.of(each) != State::kAbsent || pending_.contains(each) ||
                       std::ranges::find(ahead, each) != ahead.end();
    if (known) continue;
    absent.push_back(each);
    bytes += table_.at(each).stored_size;
    plain += table_.at(each).size();
  }
  const bool wanted = missed || bytes >= ReadAhead::kWorthwhile;
  if (wanted && workers_.budget.admit_ahead(plain)) {
    ahead.insert(ahead.end(), absent.begin(), absent.end());
  }
}

}  // namespace runnel::cache
