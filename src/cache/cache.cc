#include "cache/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/durable.h"
#include "base/log.h"

namespace runnel::cache {

namespace {

namespace fs = std::filesystem;

constexpr auto kTendEvery = std::chrono::seconds(1);
constexpr auto kDeadlineTick = std::chrono::milliseconds(50);

Result<UniqueFd> take_lock(const std::string& path) {
  RUNNEL_TRY(auto fd, open_file(path, O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kConflict, "{} is locked: another node process uses this root", path);
  }
  return fd;
}

uint64_t allocated_bytes(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

}  // namespace

Result<std::unique_ptr<Cache>> Cache::open(const std::string& root, const Options& options,
                                           const Clock& clock) {
  const auto directory = root + "/cache";
  RUNNEL_DO(make_directories(directory, 0700));
  RUNNEL_TRY(auto lock, take_lock(directory + "/lock"));
  return std::unique_ptr<Cache>(new Cache(directory, std::move(lock), options, clock));
}

Cache::Cache(std::string directory, UniqueFd lock, const Options& options, const Clock& clock)
    : directory_(std::move(directory)),
      lock_(std::move(lock)),
      options_(options),
      clock_(clock),
      rescue_(std::make_unique<WorkerPool>(options.rescue_threads)),
      write_(std::make_unique<WorkerPool>(options.write_threads)),
      verify_(std::make_unique<WorkerPool>(options.verify_threads)),
      tender_([this] { tend(); }),
      deadlines_([this] { keep_deadlines(); }) {}

Cache::~Cache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  tender_.join();
  deadlines_.join();
  verify_.reset();  // hands its last chunks to write_, its last losses to rescue_
  write_.reset();
  rescue_.reset();
  for (const auto& layer : open_layers()) {
    if (auto closed = layer->close(); !closed) log::error("{}", closed.error().message);
  }
}

Result<std::shared_ptr<Layer>> Cache::layer(const oci::Digest& digest, artifact::ChunkTable table,
                                            std::shared_ptr<fetch::RangeSource> source) {
  const std::lock_guard opening(opening_);
  if (auto layer = find(digest)) return layer;
  const auto directory = fmt::format("{}/{}", directory_, digest.hex());
  RUNNEL_DO(make_directories(directory, 0700));
  RUNNEL_TRY(auto layer,
             Layer::open(directory_storage(directory), std::move(table), std::move(source),
                         {.verify = *verify_,
                          .write = *write_,
                          .rescue = *rescue_,
                          .clock = clock_,
                          .kept_bytes = kept_bytes_}));
  const std::lock_guard lock(mutex_);
  layers_[digest] = layer;
  return layer;
}

std::shared_ptr<Layer> Cache::find(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(digest);
  return found == layers_.end() ? nullptr : found->second;
}

Result<uint64_t> Cache::clear(const std::function<bool(const oci::Digest&)>& needed) {
  uint64_t freed = 0;
  const std::lock_guard opening(opening_);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    if (!entry.is_directory()) continue;
    const auto digest = oci::Digest::parse("sha256:" + entry.path().filename().string());
    if (!digest || needed(*digest)) continue;
    freed += allocated_bytes(entry.path().string() + "/device");
    {
      const std::lock_guard lock(mutex_);
      layers_.erase(*digest);
    }
    std::error_code failed;
    fs::remove_all(entry.path(), failed);
    if (failed) {
      return fail(Code::kUnavailable, "remove {}: {}", entry.path().string(), failed.message());
    }
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  return freed;
}

std::vector<std::shared_ptr<Layer>> Cache::open_layers() const {
  std::vector<std::shared_ptr<Layer>> layers;
  const std::lock_guard lock(mutex_);
  for (const auto& [digest, layer] : layers_) layers.push_back(layer);
  return layers;
}

void Cache::tend() {
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_for(lock, kTendEvery, [this] { return stopping_; })) {
    lock.unlock();
    tend_layers();
    lock.lock();
  }
}

void Cache::tend_layers() {
  for (const auto& layer : open_layers()) {
    if (auto synced = layer->sync(); !synced) {
      log::error("what was written since the last sync counts as absent: {}",
                 synced.error().message);
    }
    layer->fill(options_.background_fill);
  }
}

void Cache::keep_deadlines() {
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_for(lock, kDeadlineTick, [this] { return stopping_; })) {
    lock.unlock();
    for (const auto& layer : open_layers()) layer->expire(clock_.now());
    lock.lock();
  }
}

}  // namespace runnel::cache
