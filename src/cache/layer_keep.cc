// Layer: chunks on disk: written, made durable, looked at again.
#include "base/log.h"
#include "cache/fault.h"
#include "cache/layer.h"
#include "codec/sha256.h"

namespace runnel::cache {

using artifact::Chunk;
using fetch::Priority;

namespace {

// Of the fill: what it brings would be lost again a second later, for as long as the disk does it.
constexpr auto kPauseAfterWriteError = std::chrono::seconds(60);

}  // namespace

// A suspect chunk, or one that is written and not durable.
void Layer::check_on_disk(uint32_t chunk) {
  const Chunk at = table_.at(chunk);
  auto plain = std::make_shared<ChunkBytes>(at.size());
  const bool good = device_->read(plain->all(), at.device_offset()).has_value() &&
                    codec::sha256(plain->all()) == at.digest;
  if (good) {
    deliver(chunk, std::move(plain), Keep::kOnDisk);
    return;
  }
  log::warning(about(), "chunk {} did not survive on disk; fetching it again", chunk);
  SteadyTime deadline;
  Priority priority;
  {
    const std::lock_guard lock(mutex_);
    drop_locked(chunk);
    const auto pending = pending_.find(chunk);
    if (pending == pending_.end() || pending->second.plain) return;
    deadline = pending->second.deadline;
    priority = pending->second.priority;
  }
  fetch({.first = chunk, .last = chunk}, priority, deadline);
}

void Layer::write_later(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain) {
  auto write = [self = shared_from_this(), chunk, plain] { self->write(chunk, plain->all()); };
  if (workers_.behind != nullptr)
    workers_.behind->submit(plain->size(), std::move(write));
  else
    workers_.write.submit(std::move(write));
}

bool Layer::keeps(uint64_t bytes) const {
  const uint64_t behind = workers_.behind == nullptr ? 0 : workers_.behind->waiting_bytes();
  return workers_.kept_bytes >= bytes + behind;
}

void Layer::write(uint32_t chunk, Bytes plain) {
  uint64_t failures_before = 0;
  {
    const std::lock_guard lock(mutex_);
    failures_before = sync_failures_;
  }
  const auto written = write_to_device(chunk, plain);
  std::unique_lock lock(mutex_);
  const auto at = pending_.find(chunk);
  RUNNEL_CHECK(at != pending_.end() && at->second.plain);
  const auto kept = std::move(at->second.plain);
  pending_.erase(at);
  unwritten_bytes_ -= plain.size();
  // A sync that failed meanwhile may have lost these bytes, and its error will not come again.
  if (written && failures_before == sync_failures_) {
    states_.written(chunk);
    if (!keeps_much()) {
      recent_.emplace(chunk, kept);
      return;
    }
  }
  workers_.kept_bytes -= plain.size();
  if (written) return;
  stats_.last_error = written.error().message;
  const bool first = workers_.clock.now() >= fill_after_;
  pause_fill_locked();
  lock.unlock();
  if (first) {
    log::error(about(), "cannot keep chunk {}: {}; reads go on from memory", chunk,
               written.error().message);
  }
}

void Layer::pause_fill_locked() {
  fill_after_ = workers_.clock.now() + kPauseAfterWriteError;
}

Result<void> Layer::write_to_device(uint32_t chunk, Bytes plain) {
  fault("before-write");
  if (const int injected = fault("write")) {
    return std::unexpected(system_error(injected, "write (injected)"));
  }
  return device_->write(plain, table_.at(chunk).device_offset());
}

Result<void> Layer::sync() {
  ChunkStates::Round round;
  {
    const std::lock_guard lock(mutex_);
    round = states_.begin_sync();
  }
  if (auto cleared = validity_->clear(round.untrue); !cleared) {
    const std::lock_guard lock(mutex_);
    states_.put_back(round);
    pause_fill_locked();
    return cleared;
  }
  if (round.data.empty()) return {};
  const auto outcome = make_durable(round);
  std::vector<uint32_t> repaired;
  {
    const std::lock_guard lock(mutex_);
    if (!outcome) {
      ++sync_failures_;
      pause_fill_locked();
    }
    for (const uint32_t chunk : outcome ? states_.synced(round) : states_.lost(round)) {
      forget_recent_locked(chunk);
      if (outcome && count_repaired_locked(chunk)) repaired.push_back(chunk);
    }
  }
  for (const uint32_t chunk : repaired) log::info(about(), "chunk {} is repaired", chunk);
  return outcome;
}

// The data, and then the bits that say so.
Result<void> Layer::make_durable(const ChunkStates::Round& round) {
  fault("before-sync");
  if (const int injected = fault("fdatasync")) {
    return std::unexpected(system_error(injected, "fdatasync (injected)"));
  }
  RUNNEL_DO(device_->sync());
  if (!names_durable_) RUNNEL_DO(storage_->sync_names());
  names_durable_ = true;
  fault("between-sync-and-bitmap");
  return validity_->set(round.data);
}

void Layer::drop_locked(uint32_t chunk) {
  states_.drop(chunk);
  forget_recent_locked(chunk);
}

void Layer::forget_recent_locked(uint32_t chunk) {
  const auto at = recent_.find(chunk);
  if (at == recent_.end()) return;
  workers_.kept_bytes -= at->second->size();
  recent_.erase(at);
}

}  // namespace runnel::cache
