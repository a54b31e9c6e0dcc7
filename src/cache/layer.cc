#include "cache/layer.h"

#include <algorithm>

#include "cache/fault.h"

namespace runnel::cache {

Layer::Layer(std::unique_ptr<Storage> storage, artifact::ChunkTable table,
             std::shared_ptr<fetch::RangeSource> source, const Workers& workers)
    : table_(std::move(table)),
      source_(std::move(source)),
      workers_(workers),
      storage_(std::move(storage)),
      asked_at_(workers.clock.now()),
      original_heard_at_(workers.clock.now()),
      chunk_came_at_(workers.clock.now()),
      states_(table_),
      touches_(table_.size()),
      came_ahead_(table_.size()),
      origins_(table_.size()) {}

Layer::~Layer() {
  for (const auto& [chunk, plain] : recent_) workers_.kept_bytes -= plain->size();
}

Result<std::shared_ptr<Layer>> Layer::open(std::unique_ptr<Storage> storage,
                                           artifact::ChunkTable table,
                                           std::shared_ptr<fetch::RangeSource> source,
                                           const Workers& workers, Left left) {
  std::shared_ptr<Layer> layer(
      new Layer(std::move(storage), std::move(table), std::move(source), workers));
  if (const int injected = fault("open-layer")) {
    return std::unexpected(system_error(injected, layer->device_path() + " (injected)"));
  }
  RUNNEL_TRY(layer->device_, layer->storage_->open("device"));
  RUNNEL_TRY(const uint64_t found, layer->device_->size());
  const bool trusted = left == Left::kClosed && found == layer->size();  // else somebody was at it
  RUNNEL_DO(layer->device_->resize(layer->size()));
  RUNNEL_TRY(auto validity, layer->storage_->open("validity"));
  RUNNEL_TRY(layer->validity_, Validity::open(std::move(validity), layer->table_, trusted));
  for (uint32_t chunk = 0; chunk < layer->table_.size(); ++chunk) {
    if (layer->validity_->has(chunk)) layer->states_.found(chunk, trusted);
  }
  return layer;
}

// The layer's name, for the log: that of its directory.
log::Fields Layer::about() const {
  const auto directory = device_path().substr(0, device_path().rfind('/'));
  return {{"layer", "sha256:" + directory.substr(directory.rfind('/') + 1)}};
}

// Itself, for a task of the threads that verify, and for a source whose answer will be one. These
// threads stay until all of what is returned is gone, and the layer goes before that.
std::shared_ptr<Layer> Layer::at_work() {
  auto self = shared_from_this();
  auto* const group = workers_.at_work;
  if (group == nullptr) return self;
  group->enter();
  return {this, [self = std::move(self), group](Layer*) mutable {
            self.reset();
            group->leave();
          }};
}

Result<bool> Layer::close() {
  RUNNEL_DO(sync());
  {
    const std::lock_guard lock(mutex_);
    if (states_.suspects() > 0 || states_.present_bytes() == 0) return false;
  }
  // Bits that an earlier process cleared and did not sync, or whose sync failed, would be back
  // after a power failure, and would be believed.
  RUNNEL_DO(validity_->settle());
  return true;
}

LayerStats Layer::stats() const {
  const std::lock_guard lock(mutex_);
  LayerStats stats = stats_;
  stats.bytes_present = states_.present_bytes();
  stats.bytes_in_memory = unwritten_bytes_;
  stats.complete = states_.all_durable();
  return stats;
}

SourceSigns Layer::signs() const {
  return {.asked = asked_at_,
          .bytes = std::max(original_heard_at_.load(), source_->heard_at()),
          .chunk = chunk_came_at_};
}

}  // namespace runnel::cache
