#include "cache/cache.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/durable.h"
#include "base/log.h"
#include "cache/closed_layers.h"
#include "cache/disk.h"

namespace runnel::cache {

namespace {

constexpr auto kTendEvery = std::chrono::seconds(1);
constexpr auto kDeadlineTick = std::chrono::milliseconds(50);

Result<UniqueFd> take_lock(const std::string& path) {
  RUNNEL_TRY(auto fd, open_file(path, O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kConflict, "{} is locked: another node process uses this root", path);
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<Cache>> Cache::open(const std::string& root, const Options& options,
                                           const Clock& clock) {
  const auto directory = root + "/cache";
  RUNNEL_DO(make_directories(directory, 0700));
  RUNNEL_TRY(auto lock, take_lock(directory + "/lock"));
  std::unique_ptr<Cache> cache(new Cache(directory, std::move(lock), options, clock));
  RUNNEL_DO(cache->scan());
  cache->measure();
  return cache;
}

void Cache::begin() {
  if (budget_.state() == Budget::State::kFull) measure_and_make_room();
  tender_ = std::thread([this] { tend(); });
  deadlines_ = std::thread([this] { keep_deadlines(); });
  scrubber_ = std::make_unique<Scrubber>(options_.scrub, [this] { return open_layers(); });
}

Cache::Cache(std::string directory, UniqueFd lock, const Options& options, const Clock& clock)
    : directory_(std::move(directory)),
      lock_(std::move(lock)),
      options_(options),
      clock_(clock),
      budget_(options.limits),
      rescue_(std::make_unique<RescueQueue>(options.rescue_threads)),
      write_(std::make_unique<WorkerPool>(options.write_threads)),
      behind_(std::make_unique<WriteBehind>(*write_, clock_, options.write_behind)),
      verify_(std::make_unique<WorkerPool>(options.verify_threads)) {}

Cache::~Cache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  scrubber_.reset();
  for (auto* thread : {&tender_, &deadlines_}) {
    if (thread->joinable()) thread->join();
  }
  // A source that was shut down still answers, on a thread of its own and later, and the last work
  // of these threads asks once more: with a fill, or for a chunk that is wrong.
  at_work_.wait();
  verify_.reset();  // has handed its last chunks to behind_ and write_, its last losses to rescue_
  rescue_.reset();  // whoever writes a chunk, these too, asks behind_ how much waits
  behind_->expire(SteadyTime::max());
  write_->finish();
  behind_.reset();
  write_.reset();
  close_layers();
}

void Cache::close_layers() {
  for (const auto& [digest, entry] : entries_) {
    if (!entry.layer) continue;
    const auto believable = entry.layer->close();
    if (!believable) log::error("{}", believable.error().message);
    if (believable && *believable) closed_.insert(digest);
  }
  if (auto left = leave_closed_layers(directory_, closed_); !left) {
    log::error("{}; what the cache has will be hashed before it is believed", left.error().message);
  }
}

// What earlier processes left.
Result<void> Cache::scan() {
  leftovers_ = clock_.now();
  remove_leftovers();
  RUNNEL_TRY(closed_, take_closed_layers(directory_));
  RUNNEL_TRY(const auto found, scan_layers(directory_));
  for (const auto& layer : found) {
    entries_[layer.digest] = {.bytes = layer.bytes, .used = layer.used};
  }
  return {};
}

std::string Cache::path_of(const oci::Digest& digest) const {
  return fmt::format("{}/{}", directory_, digest.hex());
}

Result<std::shared_ptr<Layer>> Cache::layer(const oci::Digest& digest, artifact::ChunkTable table,
                                            std::shared_ptr<fetch::RangeSource> source) {
  const std::lock_guard opening(opening_);
  {
    const std::lock_guard lock(mutex_);
    const auto at = entries_.find(digest);
    if (at != entries_.end() && at->second.layer &&
        at->second.layer->table().digest() != table.digest()) {
      return fail(Code::kInvalid,
                  "layer {}: the image that opened it has another chunk table for it, and one of "
                  "the two artifacts is wrong",
                  digest);
    }
    if (at != entries_.end()) at->second.asked = clock_.now();
    if (at != entries_.end()) at->second.released = false;  // somebody needs it again
    if (at != entries_.end() && at->second.layer) return at->second.layer;
  }
  const auto directory = path_of(digest);
  RUNNEL_DO(make_directories(directory, 0700, Survives::kProcessDeath));
  const auto left = closed_.erase(digest) > 0 ? Layer::Left::kClosed : Layer::Left::kAnyhow;
  RUNNEL_TRY(auto layer,
             Layer::open(directory_storage(directory), std::move(table), std::move(source),
                         {.verify = *verify_,
                          .write = *write_,
                          .rescue = *rescue_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_,
                          .budget = budget_,
                          .read_ahead = options_.read_ahead,
                          .chunks = options_.share_chunks ? &chunks_ : nullptr,
                          .behind = behind_.get(),
                          .at_work = &at_work_},
                         left));
  chunks_.add(layer);
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[digest];
  entry.layer = layer;
  entry.asked = clock_.now();
  entry.released = false;
  if (entry.used == WallTime{}) touch_locked(digest, entry);
  return layer;
}

std::shared_ptr<Layer> Cache::find(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(digest);
  return found == entries_.end() ? nullptr : found->second.layer;
}

std::vector<std::shared_ptr<Layer>> Cache::open_layers() const {
  std::vector<std::shared_ptr<Layer>> layers;
  const std::lock_guard lock(mutex_);
  for (const auto& [digest, entry] : entries_) {
    if (entry.layer) layers.push_back(entry.layer);
  }
  return layers;
}

void Cache::credentials_changed() {
  for (const auto& layer : open_layers()) layer->credentials_changed();
}

Cache::ScrubStatus Cache::scrub_status() const {
  ScrubStatus status;
  for (const auto& layer : open_layers()) {
    const auto stats = layer->stats();
    status.bytes += stats.scrubbed_bytes;
    status.damaged += stats.damaged_chunks;
    status.repaired += stats.repaired_chunks;
  }
  return status;
}

Cache::Totals Cache::totals() const {
  Totals totals;
  totals.unsynced_bytes = kept_bytes_;
  for (const auto& layer : open_layers()) {
    const auto stats = layer->stats();
    ++totals.layers;
    totals.complete += stats.complete ? 1 : 0;
    totals.bytes += layer->size();
    totals.bytes_present += stats.bytes_present;
    totals.failed_reads += stats.failed_reads;
    totals.corrupt_chunks += stats.corrupt_chunks;
    totals.bytes_restored += stats.bytes_restored;
    totals.bytes_borrowed += stats.bytes_borrowed;
  }
  return totals;
}

void Cache::tend() {
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_for(lock, kTendEvery, [this] { return stopping_; })) {
    lock.unlock();
    tend_once();
    lock.lock();
  }
}

void Cache::tend_once() {
  const std::lock_guard tending(tending_);
  struct Todo {
    std::shared_ptr<Layer> layer;
    bool fills;
  };
  std::vector<Todo> layers;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, entry] : entries_) {
      const bool fills = options_.background_fill && !entry.users.empty();
      if (entry.layer) layers.push_back({.layer = entry.layer, .fills = fills});
    }
  }
  for (const auto& each : layers) {
    if (auto synced = each.layer->sync(); !synced) {
      log::error("what was written since the last sync counts as absent: {}",
                 synced.error().message);
    }
  }
  measure_and_make_room();
  for (const auto& each : layers) each.layer->fill(each.fills);
}

void Cache::keep_deadlines() {
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_for(lock, kDeadlineTick, [this] { return stopping_; })) {
    lock.unlock();
    for (const auto& layer : open_layers()) layer->expire(clock_.now());
    behind_->expire(clock_.now());
    rescue_->look_again();
    lock.lock();
  }
}

}  // namespace runnel::cache
