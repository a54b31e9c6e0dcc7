// Layer: damage on disk, looked for before a reader meets it.
#include "base/log.h"
#include "cache/layer.h"
#include "codec/sha256.h"

namespace runnel::cache {

using fetch::Priority;

namespace {

constexpr auto kRepairTimeout = std::chrono::seconds(60);

}  // namespace

uint64_t Layer::scrub(uint32_t chunk) {
  const auto at = table_.at(chunk);
  if (!is_idle_on_disk(chunk)) return 0;
  Buffer plain(at.size());
  const auto read = device_->read_from_disk(plain, at.device_offset());
  // Out of descriptors or memory: nothing was learnt.
  if (!read && read.error().code == Code::kExhausted) return 0;
  const bool good = read.has_value() && codec::sha256(plain) == at.digest;
  const auto deadline = workers_.clock.now() + kRepairTimeout;
  {
    const std::lock_guard lock(mutex_);
    stats_.scrubbed_bytes += plain.size();
    const auto state = states_.of(chunk);
    if ((state != State::kDurable && state != State::kSuspect) || pending_.contains(chunk)) {
      return plain.size();
    }
    if (good) {
      states_.checked(chunk);
      return plain.size();
    }
    ++stats_.damaged_chunks;
    damaged_.insert(chunk);
    drop_locked(chunk);
    pending_[chunk].deadline = deadline;
  }
  log::error(about(), "chunk {} is damaged on disk{}; fetching it again", chunk,
             read ? "" : ": " + read.error().message);
  fetch({.first = chunk, .last = chunk}, Priority::kBackground, deadline);
  return plain.size();
}

// On disk, and nobody is at it.
bool Layer::is_idle_on_disk(uint32_t chunk) const {
  const std::lock_guard lock(mutex_);
  const auto state = states_.of(chunk);
  return (state == State::kDurable || state == State::kSuspect) && !pending_.contains(chunk);
}

bool Layer::count_repaired_locked(uint32_t chunk) {
  if (damaged_.erase(chunk) == 0) return false;
  ++stats_.repaired_chunks;
  return true;
}

}  // namespace runnel::cache
