#include "cache/layer.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/durable.h"
#include "base/log.h"
#include "cache/fault.h"
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
constexpr uint64_t kKeptLimit = 64 << 20;  // of the node; above it memory is let go early

std::string marker_of(const std::string& directory) {
  return directory + "/clean";
}

}  // namespace

Layer::Layer(artifact::ChunkTable table, std::shared_ptr<fetch::RangeSource> source,
             const Workers& workers)
    : table_(std::move(table)),
      source_(std::move(source)),
      workers_(workers),
      states_(table_.size(), State::kAbsent) {}

Layer::~Layer() {
  for (const auto& [chunk, plain] : recent_) workers_.kept_bytes -= plain->size();
}

Result<std::shared_ptr<Layer>> Layer::open(const std::string& directory, artifact::ChunkTable table,
                                           std::shared_ptr<fetch::RangeSource> source,
                                           const Workers& workers) {
  std::shared_ptr<Layer> layer(new Layer(std::move(table), std::move(source), workers));
  const bool trusted = ::unlink(marker_of(directory).c_str()) == 0;
  if (trusted) RUNNEL_DO(sync_directory(directory));
  layer->directory_ = directory;
  layer->device_path_ = directory + "/device";
  RUNNEL_TRY(layer->device_, open_file(layer->device_path_, O_RDWR | O_CREAT, 0600));
  if (::ftruncate(layer->device_.get(), static_cast<off_t>(layer->size())) != 0) {
    return fail_errno("resize {}", layer->device_path_);
  }
  RUNNEL_TRY(layer->validity_, Validity::open(directory + "/validity", layer->table_));
  for (uint32_t chunk = 0; chunk < layer->table_.size(); ++chunk) {
    if (!layer->validity_->has(chunk)) continue;
    layer->states_[chunk] = trusted ? State::kDurable : State::kSuspect;
    ++(trusted ? layer->durable_chunks_ : layer->suspect_chunks_);
    if (trusted) layer->present_bytes_ += layer->table_.at(chunk).size();
  }
  return layer;
}

void Layer::read(uint64_t offset, uint64_t length, Priority priority, SteadyTime deadline,
                 Done done) {
  RUNNEL_CHECK(length > 0 && offset < size() && length <= size() - offset);
  auto read = std::make_shared<Read>();
  read->offset = offset;
  read->out.resize(length);
  read->deadline = deadline;
  read->done = std::move(done);
  read->missing = 1;  // this call itself, until all chunks are asked for
  const uint32_t first = table_.find(offset / artifact::kBlockSize);
  const uint32_t last = table_.find((offset + length - 1) / artifact::kBlockSize);

  std::vector<uint32_t> durable;
  Wanted wanted;
  {
    const std::lock_guard lock(mutex_);
    for (uint32_t chunk = first; chunk <= last; ++chunk) {
      if (states_[chunk] == State::kDurable) {
        durable.push_back(chunk);
      } else {
        want_locked(chunk, read, priority, wanted);
      }
    }
  }
  for (const uint32_t chunk : durable) {
    if (read_durable(*read, chunk)) continue;
    const std::lock_guard lock(mutex_);
    drop_locked(chunk);
    want_locked(chunk, read, priority, wanted);
  }
  start(wanted, priority, deadline);

  bool finished = false;
  {
    const std::lock_guard lock(mutex_);
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
    for (uint32_t chunk = first; chunk <= last; ++chunk) {
      if (states_[chunk] != State::kDurable) return false;
    }
  }
  const iovec part{.iov_base = into.data(), .iov_len = into.size()};
  return ::preadv2(device_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) ==
         static_cast<ssize_t>(into.size());
}

// Answers from memory, or makes `read` wait for the chunk and lists it when nobody is at it yet.
void Layer::want_locked(uint32_t chunk, const std::shared_ptr<Read>& read, Priority priority,
                        Wanted& wanted) {
  if (const auto recent = recent_.find(chunk); recent != recent_.end()) {
    copy(chunk, *recent->second, *read);
    return;
  }
  const auto [at, fresh] = pending_.try_emplace(chunk);
  Pending& pending = at->second;
  if (pending.plain) {
    copy(chunk, *pending.plain, *read);
    return;
  }
  pending.waiting.push_back(read);
  ++read->missing;
  pending.deadline = std::max(pending.deadline, read->deadline);
  pending.priority = std::min(pending.priority, priority);
  const bool overtakes = pending.fetches > 0 && priority < pending.fetch_priority;
  if (overtakes || (fresh && states_[chunk] == State::kAbsent)) {
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

void Layer::start(const Wanted& wanted, Priority priority, SteadyTime deadline) {
  for (const uint32_t chunk : wanted.unchecked) {
    workers_.verify.submit([self = shared_from_this(), chunk] { self->check_on_disk(chunk); });
  }
  const auto& missing = wanted.missing;
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
      const auto at = pending_.find(chunk);
      if (at == pending_.end()) continue;
      Pending& pending = at->second;
      pending.fetching_until = std::max(pending.fetching_until, deadline);
      pending.fetch_priority =
          pending.fetches == 0 ? priority : std::min(pending.fetch_priority, priority);
      ++pending.fetches;
    }
  }
  auto came = [self = shared_from_this(), run, fill](Result<Buffer> frames) {
    auto shared = std::make_shared<Result<Buffer>>(std::move(frames));
    self->workers_.verify.submit([self, run, fill, shared] {
      self->arrived(run, *shared);
      if (fill) self->fill_arrived(shared->has_value());
    });
  };
  source_->read(first.blob_offset, last.blob_offset + last.stored_size - first.blob_offset,
                priority, deadline, std::move(came));
}

void Layer::arrived(Run run, const Result<Buffer>& frames) {
  if (frames) {
    const std::lock_guard lock(mutex_);
    stats_.bytes_fetched += frames->size();
  }
  const uint64_t start = table_.at(run.first).blob_offset;
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) {
    if (!still_wanted(chunk)) continue;
    if (!frames) {
      fetch_failed(chunk, frames.error());
      continue;
    }
    const Chunk at = table_.at(chunk);
    const auto plain =
        verify(chunk, Bytes(*frames).subspan(at.blob_offset - start, at.stored_size));
    if (plain) {
      deliver(chunk, *plain, true);
    } else {
      came_corrupt(chunk, plain.error());
    }
  }
}

// One fetch of the chunk has ended. False when another one was faster.
bool Layer::still_wanted(uint32_t chunk) {
  const std::lock_guard lock(mutex_);
  const auto at = pending_.find(chunk);
  if (at == pending_.end()) return false;
  if (at->second.fetches > 0) --at->second.fetches;
  return !at->second.plain;
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

// Verified bytes: answer everyone who waits, then keep them.
void Layer::deliver(uint32_t chunk, const std::shared_ptr<const Buffer>& plain, bool new_data) {
  Reads finished;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain) return;
    for (auto& read : at->second.waiting) {
      if (!read->ended) copy(chunk, *plain, *read);
      if (arrive_locked(*read)) finished.push_back(read);
    }
    at->second.waiting.clear();
    if (new_data) {
      at->second.plain = plain;
      workers_.kept_bytes += plain->size();
    } else {
      settle_checked_locked(chunk);
      pending_.erase(at);
    }
  }
  for (const auto& read : finished) read->finish();
  if (!new_data) return;
  workers_.write.submit([self = shared_from_this(), chunk, plain] { self->write(chunk, *plain); });
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

void Layer::forget_recent_locked(uint32_t chunk) {
  const auto at = recent_.find(chunk);
  if (at == recent_.end()) return;
  workers_.kept_bytes -= at->second->size();
  recent_.erase(at);
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

void Layer::came_corrupt(uint32_t chunk, const Error& error) {
  log::warning("{}: chunk {} came corrupt: {}", device_path_, chunk, error.message);
  SteadyTime deadline;
  Priority priority;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    ++stats_.corrupt_chunks;
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    Pending& pending = at->second;
    deadline = pending.deadline;
    priority = pending.priority;
    again = ++pending.attempts < kMaxAttempts && workers_.clock.now() < deadline;
  }
  if (again) {
    fetch({.first = chunk, .last = chunk}, priority, deadline, false);
  } else {
    give_up(chunk, Error(Code::kUnavailable, error.message));
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
    fetch({.first = chunk, .last = chunk}, priority, deadline, false);
  } else {
    give_up(chunk, error);
  }
}

void Layer::give_up(uint32_t chunk, const Error& error) {
  Reads finished;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    for (auto& read : at->second.waiting) {
      read->error = error.in(fmt::format("chunk {} of {}", chunk, device_path_));
      if (!arrive_locked(*read)) continue;
      ++stats_.failed_reads;
      finished.push_back(read);
    }
    pending_.erase(at);
  }
  for (const auto& read : finished) read->finish();
}

void Layer::expire(SteadyTime now) {
  Reads late;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [chunk, pending] : pending_) {
      for (auto& read : pending.waiting) {
        if (read->deadline > now || std::exchange(read->ended, true)) continue;
        ++stats_.failed_reads;
        late.push_back(read);
      }
    }
  }
  for (const auto& read : late) {
    read->done(fail(Code::kUnavailable, "{}: {} bytes at {} did not come in time", device_path_,
                    read->out.size(), read->offset));
  }
}

// Called by whoever set `ended`, without the lock.
void Layer::Read::finish() {
  if (error) {
    done(std::unexpected(*std::move(error)));
  } else {
    done(std::move(out));
  }
}

Result<void> Layer::insert(uint32_t chunk, Bytes frame) {
  RUNNEL_CHECK(chunk < table_.size());
  {
    const std::lock_guard lock(mutex_);
    if (states_[chunk] != State::kAbsent) return {};
  }
  RUNNEL_TRY(const auto plain, verify(chunk, frame));
  {
    const std::lock_guard lock(mutex_);
    if (states_[chunk] != State::kAbsent) return {};
    pending_.try_emplace(chunk);  // readers that wait for a fetch of it need not
    stats_.bytes_fetched += frame.size();
  }
  deliver(chunk, plain, true);
  return {};
}

void Layer::fill(bool enabled) {
  unsigned more = 0;
  {
    const std::lock_guard lock(mutex_);
    filling_ = enabled;
    if (may_fill_locked()) more = kFillsInFlight - fills_in_flight_;
  }
  while (more-- > 0) fill_next();
}

bool Layer::may_fill_locked() const {
  return filling_ && fills_in_flight_ < kFillsInFlight && workers_.kept_bytes < kKeptLimit &&
         workers_.clock.now() >= fill_after_;
}

void Layer::fill_arrived(bool good) {
  {
    const std::lock_guard lock(mutex_);
    --fills_in_flight_;
    if (!good) return;
  }
  fill_next();
}

// Starts one background run at the next chunks that nobody has or is at, and hashes the suspects on
// the way there.
void Layer::fill_next() {
  const auto deadline = workers_.clock.now() + kFillTimeout;
  Run run{};
  Wanted wanted;
  bool found = false;
  {
    const std::lock_guard lock(mutex_);
    if (!may_fill_locked()) return;
    const auto idle = [&](uint32_t chunk, State state) {
      return states_[chunk] == state && !pending_.contains(chunk);
    };
    for (size_t looked = 0; looked < states_.size() && !found; ++looked) {
      if (fill_cursor_ >= states_.size()) fill_cursor_ = 0;
      const uint32_t chunk = fill_cursor_++;
      found = idle(chunk, State::kAbsent);
      if (found) run = {.first = chunk, .last = chunk};
      if (idle(chunk, State::kSuspect)) wanted.unchecked.push_back(chunk);
      if (found || wanted.unchecked.size() >= kMaxRunChunks) break;
    }
    while (found && fill_cursor_ < states_.size() && run.last - run.first + 1 < kMaxRunChunks &&
           idle(fill_cursor_, State::kAbsent)) {
      run.last = fill_cursor_++;
    }
    for (const uint32_t chunk : wanted.unchecked) pending_[chunk].deadline = deadline;
    for (uint32_t chunk = run.first; found && chunk <= run.last; ++chunk) {
      pending_[chunk].deadline = deadline;
    }
    if (found) ++fills_in_flight_;
  }
  start(wanted, Priority::kBackground, deadline);
  if (found) fetch(run, Priority::kBackground, deadline, true);
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
  Result<void> outcome;
  if (const int injected = fault("fdatasync")) {
    outcome = std::unexpected(system_error(injected, "fdatasync (injected)"));
  } else if (::fdatasync(device_.get()) != 0) {
    outcome = fail_errno("fdatasync {}", device_path_);
  }
  if (outcome) outcome = validity_->set(chunks);

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

Result<void> Layer::close() {
  RUNNEL_DO(sync());
  {
    const std::lock_guard lock(mutex_);
    if (suspect_chunks_ > 0) return {};
  }
  return replace_file(marker_of(directory_), {});
}

LayerStats Layer::stats() const {
  const std::lock_guard lock(mutex_);
  LayerStats stats = stats_;
  stats.bytes_present = present_bytes_;
  stats.complete = durable_chunks_ == table_.size();
  return stats;
}

}  // namespace runnel::cache
