// Layer: chunks that come over the network, and what becomes of those that do not come, or come
// wrong.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cache/fault.h"
#include "cache/layer.h"
#include "codec/sha256.h"
#include "codec/zstd.h"

namespace runnel::cache {

using artifact::Chunk;
using fetch::Priority;

namespace {

constexpr int kMaxAttempts = 3;  // of a chunk whose bytes are wrong

}  // namespace

// The run is under way.
void Layer::note_fetch(Run run, Priority priority, SteadyTime deadline) {
  const std::lock_guard lock(mutex_);
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
    const auto at = pending_.find(chunk);
    if (at == pending_.end()) continue;
    Pending& pending = at->second;
    pending.fetching_until = std::max(pending.fetching_until, deadline);
    pending.fetch_priority =
        pending.fetches == 0 ? priority : std::min(pending.fetch_priority, priority);
    ++pending.fetches;
  }
}

// What to ask of the source, now.
fetch::RangeSource::Part Layer::part_of(Run run, const std::shared_ptr<FillRun>& fill) {
  asked_at_ = workers_.clock.now();
  auto came = [self = at_work(), run, fill](Result<Buffer> frames) {
    auto shared = std::make_shared<Result<Buffer>>(std::move(frames));
    const auto now = self->workers_.clock.now();
    if (*shared) self->came(run);
    self->workers_.verify.submit([self, run, fill, shared, now] {
      self->arrived(run, *shared, now);
      if (fill) self->fill_arrived(*fill, shared->has_value());
    });
  };
  const Chunk first = table_.at(run.first);
  const Chunk last = table_.at(run.last);
  return {.offset = first.blob_offset,
          .length = last.blob_offset + last.stored_size - first.blob_offset,
          .done = std::move(came)};
}

void Layer::fetch(Run run, Priority priority, SteadyTime deadline) {
  note_fetch(run, priority, deadline);
  auto part = part_of(run);
  source_->read(part.offset, part.length, priority, deadline, std::move(part.done));
  fault("mid-fetch");
}

// One by one, so that who comes to want one of them can have it raised, or join.
void Layer::fetch_each(const std::vector<uint32_t>& chunks, Priority priority, SteadyTime deadline,
                       const std::shared_ptr<FillRun>& fill) {
  const auto lacking = borrow(chunks, priority, deadline, fill);
  if (lacking.empty()) return;
  std::vector<fetch::RangeSource::Part> parts;
  parts.reserve(lacking.size());
  for (const uint32_t chunk : lacking) {
    const Run run{.first = chunk, .last = chunk};
    note_fetch(run, priority, deadline);
    parts.push_back(part_of(run, fill));
  }
  source_->read_each(std::move(parts), priority, deadline);
  fault("mid-fetch");
}

// The bytes of the run are here, to be verified: who comes to want it, however urgently, has
// nothing to gain from another fetch.
void Layer::came(Run run) {
  const std::lock_guard lock(mutex_);
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
    const auto at = pending_.find(chunk);
    if (at != pending_.end()) at->second.fetch_priority = Priority::kDemand;
  }
}

void Layer::arrived(Run run, const Result<Buffer>& frames, SteadyTime came) {
  fault("arrived");
  const uint64_t start = table_.at(run.first).blob_offset;
  bool worked = false;
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
    if (!still_wanted(chunk, came)) continue;
    if (!frames) {
      fetch_failed(chunk, frames.error());
      continue;
    }
    const Chunk at = table_.at(chunk);
    {
      const std::lock_guard lock(mutex_);
      stats_.bytes_fetched += at.stored_size;
    }
    const auto plain =
        verify(chunk, Bytes(*frames).subspan(at.blob_offset - start, at.stored_size));
    if (plain) {
      chunk_came_at_ = workers_.clock.now();
      // Before anybody has an answer: who has one must find that the rescue is pointless.
      if (!std::exchange(worked, true)) source_worked();
      deliver(chunk, *plain, Keep::kIfRoom);
    } else {
      came_corrupt(chunk, plain.error());
    }
  }
}

void Layer::source_worked() {
  const std::lock_guard lock(mutex_);
  rescue_.source_worked(workers_.clock.now());
  refusals_.end();
}

// One fetch of the chunk has ended. False when another one was faster.
bool Layer::still_wanted(uint32_t chunk, SteadyTime came) {
  const std::lock_guard lock(mutex_);
  const auto at = pending_.find(chunk);
  if (at == pending_.end()) return false;
  if (at->second.fetches > 0) --at->second.fetches;
  if (!at->second.plain) at->second.arrived = came;
  return !at->second.plain;
}

Result<std::shared_ptr<const ChunkBytes>> Layer::verify(uint32_t chunk, Bytes frame) const {
  const Chunk at = table_.at(chunk);
  auto plain = std::make_shared<ChunkBytes>(at.size());
  thread_local codec::ZstdDecompressor decompressor;
  RUNNEL_DO(decompressor.decompress(frame, plain->all()));
  if (codec::sha256(plain->all()) != at.digest) {
    return fail(Code::kInvalid, "bytes do not match the chunk's digest");
  }
  return plain;
}

// Verified bytes for everyone who waits. Whether they are to be written then. They are not when the
// disk has fallen so far behind: readers go on at the network's pace, and memory would be full.
bool Layer::answer(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Keep keep) {
  Reads finished;
  const bool too_much = keep == Keep::kIfRoom && keeps(kMostKept);
  const bool written = keep != Keep::kOnDisk && !too_much;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain) return false;
    for (auto& read : at->second.waiting) {
      if (!read->ended) give(chunk, plain, *read);
      if (arrive_locked(*read)) finished.push_back(read);
    }
    at->second.waiting.clear();
    awaited_.erase(chunk);
    end_wait_locked(chunk, at->second);
    if (written) {
      at->second.plain = plain;
      workers_.kept_bytes += plain->size();
      unwritten_bytes_ += plain->size();
    } else {
      if (keep == Keep::kOnDisk) states_.checked(chunk);
      if (too_much) stats_.bytes_not_kept += plain->size();
      pending_.erase(at);
    }
  }
  for (const auto& read : finished) read->finish();
  if (too_much) log::warning(about(), "the disk is too slow: not all that is read is kept");
  return written;
}

// Verified bytes: answer everyone who waits, then keep them.
void Layer::deliver(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Keep keep) {
  if (!answer(chunk, plain, keep)) return;
  workers_.write.submit(
      [self = shared_from_this(), chunk, plain] { self->write(chunk, plain->all()); });
}

void Layer::came_corrupt(uint32_t chunk, const Error& error) {
  log::warning(about(), "chunk {} came corrupt: {}", chunk, error.message);
  SteadyTime deadline;
  Priority priority;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    ++stats_.corrupt_chunks;
    stats_.last_error = fmt::format("chunk {} came corrupt: {}", chunk, error.message);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    Pending& pending = at->second;
    deadline = pending.deadline;
    priority = pending.priority;
    again = ++pending.attempts < kMaxAttempts && workers_.clock.now() < deadline;
  }
  if (again) {
    fetch({.first = chunk, .last = chunk}, priority, deadline);
  } else {
    lose(chunk, Error(Code::kUnavailable, error.message));
  }
}

// The source gave up. Someone may have joined later who has more time.
void Layer::fetch_failed(uint32_t chunk, const Error& error) {
  SteadyTime deadline;
  Priority priority;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    const Pending& pending = at->second;
    deadline = pending.deadline;
    priority = pending.priority;
    again = error.code == Code::kUnavailable && !pending.waiting.empty() &&
            deadline > pending.fetching_until && workers_.clock.now() < deadline;
  }
  if (again) {
    fetch({.first = chunk, .last = chunk}, priority, deadline);
  } else if (error.code == Code::kUnavailable || error.code == Code::kCancelled) {
    give_up(chunk, error);
  } else {
    lose(chunk, error);
  }
}

void Layer::give_up(uint32_t chunk, const Error& error) {
  Reads finished;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    for (auto& read : at->second.waiting) {
      read->error = error.in(fmt::format("chunk {} of {}", chunk, device_path()));
      if (!arrive_locked(*read)) continue;
      ++stats_.failed_reads;
      stats_.last_error = read->error->message;
      finished.push_back(read);
    }
    end_wait_locked(chunk, at->second);
    touches_.waits(at->second.touch, Wait::kFailed);
    pending_.erase(at);
    awaited_.erase(chunk);
  }
  for (const auto& read : finished) read->finish();
}

}  // namespace runnel::cache
