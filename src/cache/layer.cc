#include "cache/layer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "codec/sha256.h"
#include "codec/zstd.h"

namespace runnel::cache {

namespace {

using artifact::Chunk;
using fetch::Priority;

constexpr int kMaxAttempts = 3;  // of a chunk whose bytes are wrong
constexpr uint32_t kMaxRunChunks = 32;
constexpr unsigned kFillsInFlight = 2;
constexpr auto kFillTimeout = std::chrono::seconds(60);
constexpr auto kPauseAfterWriteError = std::chrono::seconds(60);

}  // namespace

Layer::Layer(artifact::ChunkTable table, std::shared_ptr<fetch::RangeSource> source,
             const Workers& workers)
    : table_(std::move(table)),
      source_(std::move(source)),
      workers_(workers),
      states_(table_.size(), State::kAbsent) {}

Result<std::shared_ptr<Layer>> Layer::open(const std::string& directory, artifact::ChunkTable table,
                                           bool trusted, std::shared_ptr<fetch::RangeSource> source,
                                           const Workers& workers) {
  std::shared_ptr<Layer> layer(new Layer(std::move(table), std::move(source), workers));
  layer->device_path_ = directory + "/device";
  RUNNEL_TRY(layer->device_, open_file(layer->device_path_, O_RDWR | O_CREAT, 0600));
  if (::ftruncate(layer->device_.get(), static_cast<off_t>(layer->size())) != 0) {
    return fail_errno("resize {}", layer->device_path_);
  }
  RUNNEL_TRY(layer->validity_, Validity::open(directory + "/validity", layer->table_));
  for (uint32_t chunk = 0; chunk < layer->table_.size(); ++chunk) {
    if (!layer->validity_->has(chunk)) continue;
    layer->states_[chunk] = trusted ? State::kPresent : State::kSuspect;
    if (!trusted) continue;
    layer->present_bytes_ += layer->table_.at(chunk).size();
    ++layer->durable_chunks_;
  }
  return layer;
}

void Layer::read(uint64_t offset, uint64_t length, Priority priority, SteadyTime deadline,
                 Done done) {
  RUNNEL_CHECK(length > 0 && offset < size() && length <= size() - offset);
  auto read = std::make_shared<Read>();
  read->offset = offset;
  read->out.resize(length);
  read->done = std::move(done);
  read->missing = 1;  // this call itself, until all chunks are asked for
  const uint32_t first = table_.find(offset / artifact::kBlockSize);
  const uint32_t last = table_.find((offset + length - 1) / artifact::kBlockSize);

  std::vector<uint32_t> present;
  std::vector<uint32_t> missing;
  std::vector<uint32_t> suspect;
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t chunk = first; chunk <= last; ++chunk) {
      if (states_[chunk] == State::kPresent) {
        present.push_back(chunk);
      } else {
        want_locked(chunk, read, priority, deadline, missing, suspect);
      }
    }
  }
  for (const uint32_t chunk : present) {
    if (read_present(*read, chunk)) continue;
    const std::lock_guard lock(mutex_);
    if (states_[chunk] == State::kPresent) {
      states_[chunk] = State::kAbsent;
      present_bytes_ -= table_.at(chunk).size();
    }
    want_locked(chunk, read, priority, deadline, missing, suspect);
  }
  start(missing, suspect, priority, deadline);

  bool finished = false;
  {
    const std::lock_guard lock(mutex_);
    finished = --read->missing == 0;
  }
  if (finished) read->finish();
}

// Makes `read` wait for the chunk, and lists it when nobody is at it yet.
void Layer::want_locked(uint32_t chunk, const std::shared_ptr<Read>& read, Priority priority,
                        SteadyTime deadline, std::vector<uint32_t>& missing,
                        std::vector<uint32_t>& suspect) {
  const auto [at, fresh] = pending_.try_emplace(chunk);
  Pending& pending = at->second;
  if (pending.plain) {
    copy(chunk, *pending.plain, *read);
    return;
  }
  pending.waiting.push_back(read);
  ++read->missing;
  pending.deadline = std::max(pending.deadline, deadline);
  pending.priority = std::min(pending.priority, priority);
  if (fresh) (states_[chunk] == State::kSuspect ? suspect : missing).push_back(chunk);
}

// The part of the chunk that the read wants, straight from the file.
bool Layer::read_present(Read& read, uint32_t chunk) const {
  const Chunk at = table_.at(chunk);
  const uint64_t begin = std::max(read.offset, at.device_offset());
  const uint64_t end = std::min(read.offset + read.out.size(), at.device_offset() + at.size());
  const auto into = MutableBytes(read.out).subspan(begin - read.offset, end - begin);
  const auto outcome = read_exact_at(device_.get(), into, begin);
  if (!outcome) {
    log::error("{}: chunk {}: {}; fetching it again", device_path_, chunk, outcome.error().message);
  }
  return outcome.has_value();
}

void Layer::copy(uint32_t chunk, const Buffer& plain, Read& read) const {
  const uint64_t start = table_.at(chunk).device_offset();
  const uint64_t begin = std::max(read.offset, start);
  const uint64_t end = std::min(read.offset + read.out.size(), start + plain.size());
  std::memcpy(read.out.data() + (begin - read.offset), plain.data() + (begin - start), end - begin);
}

void Layer::start(const std::vector<uint32_t>& missing, const std::vector<uint32_t>& suspect,
                  Priority priority, SteadyTime deadline) {
  for (const uint32_t chunk : suspect) {
    workers_.verify.submit([self = shared_from_this(), chunk] { self->check_suspect(chunk); });
  }
  for (size_t i = 0; i < missing.size();) {
    size_t next = i + 1;
    while (next < missing.size() && missing[next] == missing[next - 1] + 1 &&
           next - i < kMaxRunChunks) {
      ++next;
    }
    fetch({.first = missing[i], .last = missing[next - 1]}, priority, deadline, false);
    i = next;
  }
}

void Layer::fetch(Run run, Priority priority, SteadyTime deadline, bool fill) {
  const Chunk first = table_.at(run.first);
  const Chunk last = table_.at(run.last);
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
      if (const auto at = pending_.find(chunk); at != pending_.end()) {
        at->second.fetching_until = deadline;
      }
    }
  }
  auto arrived_here = [self = shared_from_this(), run, fill](Result<Buffer> frames) {
    auto shared = std::make_shared<Result<Buffer>>(std::move(frames));
    self->workers_.verify.submit([self, run, fill, shared] {
      self->arrived(run, *shared);
      if (fill) self->fill_arrived(shared->has_value());
    });
  };
  source_->read(first.blob_offset, last.blob_offset + last.stored_size - first.blob_offset,
                priority, deadline, std::move(arrived_here));
}

void Layer::arrived(Run run, const Result<Buffer>& frames) {
  if (!frames) {
    for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
      fetch_failed(chunk, frames.error());
    }
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stats_.bytes_fetched += frames->size();
  }
  const uint64_t start = table_.at(run.first).blob_offset;
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
    const Chunk at = table_.at(chunk);
    auto plain = verify(chunk, Bytes(*frames).subspan(at.blob_offset - start, at.stored_size));
    if (plain) {
      deliver(chunk, *std::move(plain), true);
    } else {
      came_corrupt(chunk, plain.error());
    }
  }
}

Result<std::shared_ptr<const Buffer>> Layer::verify(uint32_t chunk, Bytes frame) const {
  const Chunk at = table_.at(chunk);
  auto plain = std::make_shared<Buffer>(at.size());
  thread_local codec::ZstdDecompressor decompressor;
  RUNNEL_DO(decompressor.decompress(frame, *plain));
  if (codec::sha256(*plain) != at.digest) {
    return fail(Code::kInvalid, "bytes do not match the chunk's digest");
  }
  return plain;
}

void Layer::check_suspect(uint32_t chunk) {
  const Chunk at = table_.at(chunk);
  auto plain = std::make_shared<Buffer>(at.size());
  const bool good = read_exact_at(device_.get(), *plain, at.device_offset()).has_value() &&
                    codec::sha256(*plain) == at.digest;
  if (good) {
    deliver(chunk, std::move(plain), false);
    return;
  }
  log::warning("{}: chunk {} did not survive the last stop; fetching it again", device_path_,
               chunk);
  SteadyTime deadline;
  Priority priority;
  {
    const std::lock_guard lock(mutex_);
    states_[chunk] = State::kAbsent;
    const Pending& pending = pending_.at(chunk);
    deadline = pending.deadline;
    priority = pending.priority;
  }
  fetch({.first = chunk, .last = chunk}, priority, deadline, false);
}

// Verified bytes: answer everyone who waits, then keep them.
void Layer::deliver(uint32_t chunk, std::shared_ptr<const Buffer> plain, bool new_data) {
  std::vector<std::shared_ptr<Read>> finished;
  {
    const std::lock_guard lock(mutex_);
    Pending& pending = pending_.at(chunk);
    pending.plain = plain;
    for (auto& read : pending.waiting) {
      copy(chunk, *plain, *read);
      if (--read->missing == 0) finished.push_back(read);
    }
    pending.waiting.clear();
    if (!new_data) {
      states_[chunk] = State::kPresent;
      present_bytes_ += plain->size();
      ++durable_chunks_;
      pending_.erase(chunk);
    }
  }
  for (const auto& read : finished) read->finish();
  if (!new_data) return;
  workers_.write.submit(
      [self = shared_from_this(), chunk, plain = std::move(plain)] { self->write(chunk, *plain); });
}

void Layer::write(uint32_t chunk, const Buffer& plain) {
  const auto written = write_all_at(device_.get(), plain, table_.at(chunk).device_offset());
  const std::lock_guard lock(mutex_);
  pending_.erase(chunk);
  if (written) {
    states_[chunk] = State::kPresent;
    present_bytes_ += plain.size();
    unsynced_.push_back(chunk);
    return;
  }
  log::error("{}: cannot keep chunk {}: {}", device_path_, chunk, written.error().message);
  fill_after_ = workers_.clock.now() + kPauseAfterWriteError;
}

void Layer::came_corrupt(uint32_t chunk, const Error& error) {
  log::warning("{}: chunk {} came corrupt: {}", device_path_, chunk, error.message);
  SteadyTime deadline;
  Priority priority;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    ++stats_.corrupt_chunks;
    Pending& pending = pending_.at(chunk);
    deadline = pending.deadline;
    priority = pending.priority;
    again = ++pending.attempts < kMaxAttempts && workers_.clock.now() < deadline;
  }
  if (again) {
    fetch({.first = chunk, .last = chunk}, priority, deadline, false);
  } else {
    give_up(chunk, error);
  }
}

// The source gave up. Someone may have joined later who has more time.
void Layer::fetch_failed(uint32_t chunk, const Error& error) {
  SteadyTime deadline;
  Priority priority;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    const Pending& pending = pending_.at(chunk);
    deadline = pending.deadline;
    priority = pending.priority;
    again = error.code == Code::kUnavailable && !pending.waiting.empty() &&
            deadline > pending.fetching_until && workers_.clock.now() < deadline;
  }
  if (again) {
    fetch({.first = chunk, .last = chunk}, priority, deadline, false);
  } else {
    give_up(chunk, error);
  }
}

void Layer::give_up(uint32_t chunk, const Error& error) {
  std::vector<std::shared_ptr<Read>> finished;
  {
    const std::lock_guard lock(mutex_);
    const auto pending = pending_.extract(chunk);
    for (auto& read : pending.mapped().waiting) {
      read->error = error.in(fmt::format("chunk {} of {}", chunk, device_path_));
      ++stats_.failed_reads;
      if (--read->missing == 0) finished.push_back(read);
    }
  }
  for (const auto& read : finished) read->finish();
}

void Layer::Read::finish() {
  if (error) {
    done(std::unexpected(*std::move(error)));
  } else {
    done(std::move(out));
  }
}

Result<void> Layer::insert(uint32_t chunk, Bytes frame) {
  RUNNEL_CHECK(chunk < table_.size());
  RUNNEL_TRY(auto plain, verify(chunk, frame));
  {
    const std::lock_guard lock(mutex_);
    if (states_[chunk] != State::kAbsent || pending_.contains(chunk)) return {};
    pending_.try_emplace(chunk);
  }
  deliver(chunk, std::move(plain), true);
  return {};
}

void Layer::fill(bool enabled) {
  unsigned more = 0;
  {
    const std::lock_guard lock(mutex_);
    filling_ = enabled && workers_.clock.now() >= fill_after_;
    if (filling_) more = kFillsInFlight - fills_in_flight_;
  }
  while (more-- > 0) fill_next();
}

void Layer::fill_arrived(bool good) {
  {
    const std::lock_guard lock(mutex_);
    --fills_in_flight_;
    if (!good) return;
  }
  fill_next();
}

// Starts one background run at the next chunks that nobody has or is at.
void Layer::fill_next() {
  const auto deadline = workers_.clock.now() + kFillTimeout;
  Run run{};
  std::vector<uint32_t> suspect;
  bool found = false;
  {
    const std::lock_guard lock(mutex_);
    if (!filling_ || fills_in_flight_ >= kFillsInFlight || workers_.clock.now() < fill_after_) {
      return;
    }
    const auto idle = [&](uint32_t chunk) {
      return states_[chunk] != State::kPresent && !pending_.contains(chunk);
    };
    for (uint32_t looked = 0; looked < states_.size() && !found; ++looked) {
      if (fill_cursor_ >= states_.size()) fill_cursor_ = 0;
      const uint32_t chunk = fill_cursor_++;
      if (!idle(chunk)) continue;
      pending_[chunk].deadline = deadline;
      if (states_[chunk] == State::kSuspect) {
        suspect.push_back(chunk);
        if (suspect.size() >= kMaxRunChunks) break;
        continue;
      }
      run = {.first = chunk, .last = chunk};
      found = true;
    }
    while (found && fill_cursor_ < states_.size() && run.last - run.first + 1 < kMaxRunChunks &&
           states_[fill_cursor_] == State::kAbsent && idle(fill_cursor_)) {
      run.last = fill_cursor_;
      pending_[fill_cursor_++].deadline = deadline;
    }
    if (found) ++fills_in_flight_;
  }
  start({}, suspect, Priority::kBackground, deadline);
  if (found) fetch(run, Priority::kBackground, deadline, true);
}

Result<void> Layer::sync() {
  std::vector<uint32_t> chunks;
  {
    const std::lock_guard lock(mutex_);
    chunks.swap(unsynced_);
  }
  if (chunks.empty()) return {};
  Result<void> outcome;
  if (::fdatasync(device_.get()) != 0) outcome = fail_errno("fdatasync {}", device_path_);
  if (outcome) outcome = validity_->set(chunks);

  const std::lock_guard lock(mutex_);
  if (outcome) {
    durable_chunks_ += static_cast<uint32_t>(chunks.size());
    return {};
  }
  for (const uint32_t chunk : chunks) {
    if (states_[chunk] != State::kPresent) continue;
    states_[chunk] = State::kAbsent;
    present_bytes_ -= table_.at(chunk).size();
  }
  return outcome;
}

LayerStats Layer::stats() const {
  const std::lock_guard lock(mutex_);
  LayerStats stats = stats_;
  stats.bytes_present = present_bytes_;
  stats.complete = durable_chunks_ == table_.size();
  return stats;
}

}  // namespace runnel::cache
