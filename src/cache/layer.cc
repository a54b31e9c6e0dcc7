#include "cache/layer.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/durable.h"

namespace runnel::cache {

namespace {

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
