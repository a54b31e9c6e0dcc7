// Layer: chunks on disk: written, made durable, looked at again.
#include <unistd.h>

#include "base/log.h"
#include "cache/fault.h"
#include "cache/layer.h"
#include "codec/sha256.h"

namespace runnel::cache {

using artifact::Chunk;
using fetch::Priority;

namespace {

constexpr auto kPauseAfterWriteError = std::chrono::seconds(60);

}  // namespace

// A suspect chunk, or one that is written and not durable.
void Layer::check_on_disk(uint32_t chunk) {
  const Chunk at = table_.at(chunk);
  auto plain = std::make_shared<Buffer>(at.size());
  const bool good = read_exact_at(device_.get(), *plain, at.device_offset()).has_value() &&
                    codec::sha256(*plain) == at.digest;
  if (good) {
    deliver(chunk, std::move(plain), false);
    return;
  }
  log::warning("{}: chunk {} did not survive on disk; fetching it again", device_path_, chunk);
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
  fetch({.first = chunk, .last = chunk}, priority, deadline, false);
}

void Layer::settle_checked_locked(uint32_t chunk) {
  if (states_[chunk] != State::kSuspect) return;
  states_[chunk] = State::kDurable;
  present_bytes_ += table_.at(chunk).size();
  --suspect_chunks_;
  ++durable_chunks_;
}

void Layer::write(uint32_t chunk, const Buffer& plain) {
  uint64_t failures_before = 0;
  {
    const std::lock_guard lock(mutex_);
    failures_before = sync_failures_;
  }
  fault("before-write");
  Result<void> written;
  if (const int injected = fault("write")) {
    written = std::unexpected(system_error(injected, "write (injected)"));
  } else {
    written = write_all_at(device_.get(), plain, table_.at(chunk).device_offset());
  }
  const std::lock_guard lock(mutex_);
  const auto at = pending_.find(chunk);
  RUNNEL_CHECK(at != pending_.end() && at->second.plain);
  const auto kept = std::move(at->second.plain);
  pending_.erase(at);
  // A sync that failed meanwhile may have lost these bytes, and its error will not come again.
  if (written && failures_before == sync_failures_) {
    states_[chunk] = State::kWritten;
    present_bytes_ += plain.size();
    unsynced_.push_back(chunk);
    if (workers_.kept_bytes <= kKeptLimit) {
      recent_.emplace(chunk, kept);
      return;
    }
  }
  workers_.kept_bytes -= plain.size();
  if (written) return;
  const auto now = workers_.clock.now();
  if (now >= fill_after_) {
    log::error("{}: cannot keep chunk {}: {}; reads go on from memory", device_path_, chunk,
               written.error().message);
  }
  fill_after_ = now + kPauseAfterWriteError;
}

Result<void> Layer::sync() {
  std::vector<uint32_t> chunks;
  std::vector<uint32_t> untrue;
  {
    const std::lock_guard lock(mutex_);
    chunks.swap(unsynced_);
    untrue.swap(untrue_);
  }
  if (auto cleared = validity_->clear(untrue); !cleared) {
    const std::lock_guard lock(mutex_);
    untrue_.insert(untrue_.end(), untrue.begin(), untrue.end());
    unsynced_.insert(unsynced_.end(), chunks.begin(), chunks.end());
    return cleared;
  }
  if (chunks.empty()) return {};
  fault("before-sync");
  Result<void> outcome;
  if (const int injected = fault("fdatasync")) {
    outcome = std::unexpected(system_error(injected, "fdatasync (injected)"));
  } else if (::fdatasync(device_.get()) != 0) {
    outcome = fail_errno("fdatasync {}", device_path_);
  }
  if (outcome) {
    fault("between-sync-and-bitmap");
    outcome = validity_->set(chunks);
  }

  const std::lock_guard lock(mutex_);
  if (!outcome) {
    // The kernel reports a lost write once. It may have been any since the last good sync, those
    // that came while this one ran included.
    ++sync_failures_;
    for (const uint32_t chunk : chunks) drop_locked(chunk);
    for (const uint32_t chunk : unsynced_) drop_locked(chunk);
    unsynced_.clear();
    return outcome;
  }
  for (const uint32_t chunk : chunks) {
    if (states_[chunk] != State::kWritten) continue;
    states_[chunk] = State::kDurable;
    ++durable_chunks_;
    forget_recent_locked(chunk);
  }
  return {};
}

// What is on disk of this chunk is not to be used.
void Layer::drop_locked(uint32_t chunk) {
  State& state = states_[chunk];
  if (state == State::kWritten || state == State::kDurable) {
    present_bytes_ -= table_.at(chunk).size();
  }
  if (state == State::kDurable) --durable_chunks_;
  if (state == State::kSuspect) --suspect_chunks_;
  if (state != State::kAbsent) untrue_.push_back(chunk);
  state = State::kAbsent;
  forget_recent_locked(chunk);
}

void Layer::forget_recent_locked(uint32_t chunk) {
  const auto at = recent_.find(chunk);
  if (at == recent_.end()) return;
  workers_.kept_bytes -= at->second->size();
  recent_.erase(at);
}

}  // namespace runnel::cache
