// Layer: what a reader asks, and how it is answered.
#include <algorithm>

#include "base/log.h"
#include "cache/layer.h"

namespace runnel::cache {

using artifact::Chunk;
using fetch::Priority;

void Layer::read(uint64_t offset, uint64_t length, Priority priority, SteadyTime deadline,
                 Done done, SteadyTime fetch_until) {
  RUNNEL_CHECK(length > 0 && offset < size() && length <= size() - offset);
  auto read = std::make_shared<Read>();
  read->offset = offset;
  read->length = length;
  read->deadline = deadline;
  read->fetch_until = std::max(deadline, fetch_until);
  read->done = std::move(done);
  read->missing = 1;  // this call itself, until all chunks are asked for
  const uint32_t first = table_.find(offset / artifact::kBlockSize);
  const uint32_t last = table_.find((offset + length - 1) / artifact::kBlockSize);
  if (first != last) read->out = std::make_shared<ChunkBytes>(length);

  const bool noted = priority == Priority::kDemand;
  const auto now = noted ? workers_.clock.now() : SteadyTime();
  std::vector<uint32_t> durable;
  std::vector<uint32_t> touched;          // for the first time
  std::vector<uint32_t> touched_on_disk;  // of touches_
  Wanted wanted;
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t chunk = first; chunk <= last; ++chunk) {
      const bool is_new = noted && touch_locked(chunk, offset, now);
      if (is_new) touched.push_back(chunk);
      if (states_.of(chunk) == State::kDurable) {
        durable.push_back(chunk);
        if (is_new) touched_on_disk.push_back(touches_.last());
      } else {
        want_locked(chunk, read, priority, wanted);
        if (is_new) note_wait_locked(chunk);
      }
    }
  }
  for (const uint32_t chunk : durable) {
    if (read_durable(*read, chunk)) continue;
    const std::lock_guard lock(mutex_);
    drop_locked(chunk);
    want_locked(chunk, read, priority, wanted);
  }
  start(wanted, priority, read->fetch_until);
  if (!touched.empty()) read_ahead_of(touched, !wanted.missing.empty());

  bool finished = false;
  {
    const auto read_at = touched_on_disk.empty() ? SteadyTime() : workers_.clock.now();
    const std::lock_guard lock(mutex_);
    for (const uint32_t touch : touched_on_disk) touches_.read_from_disk(touch, read_at);
    finished = arrive_locked(*read);
  }
  if (finished) read->finish();
}

bool Layer::read_now(uint64_t offset, MutableBytes into) {
  RUNNEL_CHECK(!into.empty() && offset < size() && into.size() <= size() - offset);
  const uint32_t first = table_.find(offset / artifact::kBlockSize);
  const uint32_t last = table_.find((offset + into.size() - 1) / artifact::kBlockSize);
  {
    const std::lock_guard lock(mutex_);
    if (!was_touched_locked(first, last)) return false;  // read() notes it
    for (uint32_t chunk = first; chunk <= last; ++chunk) {
      if (states_.of(chunk) != State::kDurable) return false;
    }
  }
  return device_->read_now(into, offset);
}

// Answers from memory, or makes `read` wait for the chunk and lists it when nobody is at it yet.
void Layer::want_locked(uint32_t chunk, const std::shared_ptr<Read>& read, Priority priority,
                        Wanted& wanted) {
  if (const auto recent = recent_.find(chunk); recent != recent_.end()) {
    give(chunk, recent->second, *read);
    return;
  }
  const auto [at, fresh] = pending_.try_emplace(chunk);
  Pending& pending = at->second;
  if (pending.plain) {
    give(chunk, pending.plain, *read);
    return;
  }
  if (pending.waiting.empty()) {
    pending.asked = workers_.clock.now();
    awaited_.insert(chunk);
  }
  // While a source is gone, readers that come again and again can keep the chunk pending for days.
  std::erase_if(pending.waiting, [](const auto& other) { return other->ended; });
  pending.waiting.push_back(read);
  ++read->missing;
  pending.deadline = std::max(pending.deadline, read->fetch_until);
  pending.priority = std::min(pending.priority, priority);
  const bool overtakes = pending.fetches > 0 && priority < pending.fetch_priority;
  if (overtakes) {
    wanted.overtaken.push_back(chunk);
  } else if (fresh && states_.of(chunk) == State::kAbsent) {
    origins_[chunk] = Origin::kDemand;
    wanted.missing.push_back(chunk);
  } else if (fresh) {
    wanted.unchecked.push_back(chunk);
  }
}

// One of the things that the read waited for is there. True: the caller finishes it.
bool Layer::arrive_locked(Read& read) {
  return --read.missing == 0 && !std::exchange(read.ended, true);
}

// The part of the chunk that the read wants, straight from the file.
bool Layer::read_durable(Read& read, uint32_t chunk) const {
  const Chunk at = table_.at(chunk);
  const uint64_t begin = std::max(read.offset, at.device_offset());
  const uint64_t end = std::min(read.offset + read.length, at.device_offset() + at.size());
  if (!read.out) read.out = std::make_shared<ChunkBytes>(read.length);
  const auto outcome = device_->read(read.part(begin, end), begin);
  if (!outcome) {
    log::error(about(), "chunk {}: {}; fetching it again", chunk, outcome.error().message);
  }
  return outcome.has_value();
}

// What the read wants of the chunk: itself when that is all, a copy otherwise.
void Layer::give(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Read& read) const {
  const uint64_t start = table_.at(chunk).device_offset();
  const uint64_t begin = std::max(read.offset, start);
  const uint64_t end = std::min(read.offset + read.length, start + plain->size());
  RUNNEL_CHECK(begin < end);
  const Bytes part = plain->all().subspan(begin - start, end - begin);
  if (read.is_within(begin, end))
    read.from_chunk.emplace(plain, part);
  else
    std::ranges::copy(part, read.part(begin, end).begin());
}

void Layer::start(const Wanted& wanted, Priority priority, SteadyTime deadline) {
  for (const uint32_t chunk : wanted.unchecked) {
    workers_.verify.submit([self = at_work(), chunk] { self->check_on_disk(chunk); });
  }
  fetch_each(wanted.overtaken, priority, deadline);
  for (const Run& run : runs_of(wanted.missing)) {
    if (!admit(run)) continue;
    std::vector<uint32_t> chunks;
    for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) chunks.push_back(chunk);
    for (const Run& lacking : runs_of(borrow(chunks, priority, deadline)))
      fetch(lacking, priority, deadline);
  }
}

// Neighbours together, of chunks in their order.
std::vector<Layer::Run> Layer::runs_of(const std::vector<uint32_t>& chunks) {
  std::vector<Run> runs;
  for (const uint32_t chunk : chunks) {
    const bool joins =
        !runs.empty() && chunk == runs.back().last + 1 && chunk - runs.back().first < kMaxRunChunks;
    if (joins)
      runs.back().last = chunk;
    else
      runs.push_back({.first = chunk, .last = chunk});
  }
  return runs;
}

// Whether the disk has room for chunks that a reader waits for; he has his error otherwise.
bool Layer::admit(Run run) {
  const Chunk last = table_.at(run.last);
  const uint64_t bytes = last.device_offset() + last.size() - table_.at(run.first).device_offset();
  if (workers_.budget.admit(bytes)) return true;
  const Error full(Code::kExhausted, "DiskFull: the cache's file system is down to its reserve");
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) give_up(chunk, full);
  return false;
}

void Layer::expire(SteadyTime now) {
  std::vector<std::pair<std::shared_ptr<Read>, Error>> late;
  {
    const std::lock_guard lock(mutex_);
    for (const uint32_t chunk : awaited_) {
      const Pending& pending = pending_.at(chunk);
      for (auto& read : pending.waiting) {
        if (read->deadline > now || std::exchange(read->ended, true)) continue;
        late.emplace_back(read, read->error ? *read->error : too_late_locked(*read, pending));
        ++stats_.failed_reads;
        stats_.last_error = late.back().second.message;
      }
    }
    watch_silence_locked(now);
    if (awaited_.empty() && !rescue_.wanted()) return;  // most of them, twenty times a second
  }
  for (const auto& [read, error] : late) read->done(std::unexpected(error));
  fetch_again(now);
  begin_rescue(now);
}

Error Layer::too_late_locked(const Read& read, const Pending& pending) const {
  auto message = fmt::format("{}: {} bytes at {} did not come in time", device_path(), read.length,
                             read.offset);
  for (const auto& why : {pending.why_lost, rescue_.error()}) {
    if (!why.empty()) message += "; " + why;
  }
  return {Code::kUnavailable, std::move(message)};
}

// Called by whoever set `ended`, without the lock.
void Layer::Read::finish() {
  if (error) {
    done(std::unexpected(*std::move(error)));
  } else if (from_chunk) {
    done(*std::move(from_chunk));
  } else {
    done(ReadBytes(std::move(out)));
  }
}

// Whether [begin, end) of the device image is all of it.
bool Layer::Read::is_within(uint64_t begin, uint64_t end) const {
  return begin == offset && end == offset + length;
}

// Where these bytes of the device image belong.
MutableBytes Layer::Read::part(uint64_t begin, uint64_t end) const {
  return out->all().subspan(begin - offset, end - begin);
}

}  // namespace runnel::cache
