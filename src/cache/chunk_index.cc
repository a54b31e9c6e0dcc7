#include "cache/chunk_index.h"

#include <bit>

#include "base/bytes.h"
#include "cache/layer.h"

namespace runnel::cache {

namespace {

// A page of zeros may be in every layer: one of them will do.
constexpr size_t kMaxCandidates = 4;

uint32_t prefix_of(const codec::Sha256Value& digest) {
  return load_le<uint32_t>(digest.data());
}

}  // namespace

void ChunkIndex::add(const std::shared_ptr<Layer>& layer) {
  const auto& table = layer->table();
  const std::lock_guard lock(mutex_);
  if (2 * (used_ + table.size()) > slots_.size()) rebuild_locked(table.size());
  if (used_ + table.size() > max_chunks_) return;
  const auto number = static_cast<uint32_t>(layers_.size());
  layers_.push_back(layer);
  for (uint32_t chunk = 0; chunk < table.size(); ++chunk)
    put_locked({.prefix = prefix_of(table.at(chunk).digest), .layer = number, .chunk = chunk});
}

std::optional<ChunkIndex::Place> ChunkIndex::find(const codec::Sha256Value& digest) const {
  for (auto& place : candidates(digest))
    if (place.layer->table().at(place.chunk).digest == digest && place.layer->holds(place.chunk))
      return std::move(place);
  return std::nullopt;
}

// What begins like it, so that nothing of a layer is done under the lock.
std::vector<ChunkIndex::Place> ChunkIndex::candidates(const codec::Sha256Value& digest) const {
  std::vector<Place> found;
  const std::lock_guard lock(mutex_);
  if (slots_.empty()) return found;
  const uint32_t prefix = prefix_of(digest);
  const size_t mask = slots_.size() - 1;
  for (size_t at = prefix & mask; slots_[at].layer != kFree; at = (at + 1) & mask) {
    if (slots_[at].prefix != prefix) continue;
    if (auto layer = layers_[slots_[at].layer].lock())
      found.push_back({.layer = std::move(layer), .chunk = slots_[at].chunk});
    if (found.size() == kMaxCandidates) break;
  }
  return found;
}

// Without the layers that are gone, and with room for `more` chunks if there may be so many.
void ChunkIndex::rebuild_locked(size_t more) {
  std::vector<std::weak_ptr<Layer>> living;
  std::vector<uint32_t> numbers(layers_.size(), kFree);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i].expired()) continue;
    numbers[i] = static_cast<uint32_t>(living.size());
    living.push_back(std::move(layers_[i]));
  }
  std::vector<Slot> kept;
  for (const auto& slot : slots_)
    if (slot.layer != kFree && numbers[slot.layer] != kFree)
      kept.push_back({.prefix = slot.prefix, .layer = numbers[slot.layer], .chunk = slot.chunk});
  layers_ = std::move(living);
  const size_t room = std::min(kept.size() + more, max_chunks_);
  slots_.assign(std::bit_ceil(std::max<size_t>(2 * room, 1)), Slot{});
  used_ = 0;
  for (const auto& slot : kept) put_locked(slot);
}

void ChunkIndex::put_locked(Slot slot) {
  const size_t mask = slots_.size() - 1;
  size_t at = slot.prefix & mask;
  while (slots_[at].layer != kFree) at = (at + 1) & mask;
  slots_[at] = slot;
  ++used_;
}

}  // namespace runnel::cache
