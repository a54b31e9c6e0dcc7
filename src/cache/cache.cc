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
  const auto marker = directory + "/clean";
  const bool trusted = ::access(marker.c_str(), F_OK) == 0;
  if (trusted) {
    if (::unlink(marker.c_str()) != 0) return fail_errno("remove {}", marker);
    RUNNEL_DO(sync_directory(directory));
  }
  return std::unique_ptr<Cache>(new Cache(directory, std::move(lock), trusted, options, clock));
}

Cache::Cache(std::string directory, UniqueFd lock, bool trusted, const Options& options,
             const Clock& clock)
    : directory_(std::move(directory)),
      lock_(std::move(lock)),
      trusted_(trusted),
      options_(options),
      clock_(clock),
      write_(std::make_unique<WorkerPool>(options.write_threads)),
      verify_(std::make_unique<WorkerPool>(options.verify_threads)),
      tender_([this] { tend(); }) {}

Cache::~Cache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  tender_.join();
  verify_.reset();  // hands its last chunks to write_
  write_.reset();
  tend_layers(false);
  if (sync_failed_) return;
  if (auto marked = replace_file(directory_ + "/clean", {}); !marked) {
    log::error("{}", marked.error().message);
  }
}

Result<std::shared_ptr<Layer>> Cache::layer(const oci::Digest& digest, artifact::ChunkTable table,
                                            std::shared_ptr<fetch::RangeSource> source) {
  const std::lock_guard lock(mutex_);
  auto& layer = layers_[digest];
  if (layer) return layer;
  const auto directory = fmt::format("{}/{}", directory_, digest.hex());
  const bool existed = fs::exists(directory);
  auto opened = [&]() -> Result<std::shared_ptr<Layer>> {
    RUNNEL_DO(make_directories(directory, 0700));
    return Layer::open(directory, std::move(table), trusted_ || !existed, std::move(source),
                       {.verify = *verify_, .write = *write_, .clock = clock_});
  }();
  if (!opened) {
    layers_.erase(digest);
    return opened;
  }
  layer = *opened;
  return layer;
}

std::shared_ptr<Layer> Cache::find(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(digest);
  return found == layers_.end() ? nullptr : found->second;
}

Result<uint64_t> Cache::clear(const std::function<bool(const oci::Digest&)>& needed) {
  uint64_t freed = 0;
  const std::lock_guard lock(mutex_);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    if (!entry.is_directory()) continue;
    const auto digest = oci::Digest::parse("sha256:" + entry.path().filename().string());
    if (!digest || needed(*digest)) continue;
    freed += allocated_bytes(entry.path().string() + "/device");
    layers_.erase(*digest);
    std::error_code failed;
    fs::remove_all(entry.path(), failed);
    if (failed)
      return fail(Code::kUnavailable, "remove {}: {}", entry.path().string(), failed.message());
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  return freed;
}

void Cache::tend() {
  std::unique_lock lock(mutex_);
  while (!stop_changed_.wait_for(lock, kTendEvery, [this] { return stopping_; })) {
    lock.unlock();
    tend_layers(options_.background_fill);
    lock.lock();
  }
}

void Cache::tend_layers(bool fill) {
  std::vector<std::shared_ptr<Layer>> layers;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, layer] : layers_) layers.push_back(layer);
  }
  for (const auto& layer : layers) {
    if (auto synced = layer->sync(); !synced) {
      sync_failed_ = true;
      log::error("what was written since the last sync counts as absent: {}",
                 synced.error().message);
    }
    if (fill) layer->fill(true);
  }
}

}  // namespace runnel::cache
