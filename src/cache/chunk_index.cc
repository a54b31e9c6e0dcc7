#include "cache/chunk_index.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "cache/layer.h"

namespace runnel::cache {

namespace {

// Of one digest. A page of zeros may be in every layer: one of them will do.
constexpr size_t kMaxCandidates = 4;

// The last step of splitmix64: every bit of the result depends on every bit of the value.
uint64_t mixed(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace

ChunkIndex::Key ChunkIndex::random_key() {
  Key key;
  RUNNEL_CHECK(::getrandom(key.data(), sizeof key, 0) == ssize_t{sizeof key});
  return key;
}

// Half of the digest is enough: who looks a chunk up compares all of it.
uint32_t ChunkIndex::mark_of(const codec::Sha256Value& digest) const {
  const auto first = load_le<uint64_t>(digest.data());
  const auto second = load_le<uint64_t>(digest.data() + sizeof first);
  return static_cast<uint32_t>(mixed(mixed(first ^ key_[0]) ^ second ^ key_[1]));
}

void ChunkIndex::add(const std::shared_ptr<Layer>& layer) {
  const auto& table = layer->table();
  const std::lock_guard lock(mutex_);
  make_room_locked(table.size());
  if (used_ + table.size() > max_chunks_) return;
  const auto number = static_cast<uint32_t>(layers_.size());
  layers_.push_back(layer);
  for (uint32_t chunk = 0; chunk < table.size(); ++chunk)
    put_locked({.mark = mark_of(table.at(chunk).digest), .layer = number, .chunk = chunk});
}

ChunkIndex::Stats ChunkIndex::stats() const {
  const std::lock_guard lock(mutex_);
  return {.entries = used_, .steps = steps_, .rebuilds = rebuilds_};
}

std::optional<ChunkIndex::Place> ChunkIndex::find(const codec::Sha256Value& digest) const {
  for (auto& place : candidates(digest))
    if (place.layer->table().at(place.chunk).digest == digest && place.layer->holds(place.chunk))
      return std::move(place);
  return std::nullopt;
}

// What has its mark, so that nothing of a layer is done under the lock.
std::vector<ChunkIndex::Place> ChunkIndex::candidates(const codec::Sha256Value& digest) const {
  std::vector<Place> found;
  const std::lock_guard lock(mutex_);
  if (slots_.empty()) return found;
  const uint32_t mark = mark_of(digest);
  const size_t mask = slots_.size() - 1;
  for (size_t at = mark & mask; slots_[at].layer != kFree; at = (at + 1) & mask) {
    if (slots_[at].mark != mark) continue;
    if (auto layer = layers_[slots_[at].layer].lock())
      found.push_back({.layer = std::move(layer), .chunk = slots_[at].chunk});
  }
  return found;
}

// Everything is moved only for what that gives: longer slots, or the room of layers that are gone.
// An index that is full would else be made anew for each layer that comes.
void ChunkIndex::make_room_locked(size_t more) {
  const auto gone = static_cast<size_t>(
      std::ranges::count_if(layers_, [](const auto& layer) { return layer.expired(); }));
  const bool full = used_ + more > max_chunks_;
  if (full && gone == 0) return;
  const bool grows = 2 * (used_ + more) > slots_.size();
  if (full || grows || 2 * gone > layers_.size()) rebuild_locked(more);
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
      kept.push_back({.mark = slot.mark, .layer = numbers[slot.layer], .chunk = slot.chunk});
  layers_ = std::move(living);
  const size_t room = std::min(kept.size() + more, max_chunks_);
  slots_.assign(std::bit_ceil(std::max<size_t>(2 * room, 1)), Slot{});
  used_ = 0;
  ++rebuilds_;
  for (const auto& slot : kept) put_locked(slot);
}

// Unless enough is known of its digest. What a layer that is gone has left is as good as free.
void ChunkIndex::put_locked(Slot slot) {
  const size_t mask = slots_.size() - 1;
  size_t at = slot.mark & mask;
  for (size_t same = 0; slots_[at].layer != kFree; at = (at + 1) & mask) {
    ++steps_;
    if (slots_[at].mark != slot.mark) continue;
    if (layers_[slots_[at].layer].expired()) {
      slots_[at] = slot;
      return;
    }
    if (++same == kMaxCandidates) return;
  }
  slots_[at] = slot;
  ++used_;
}

}  // namespace runnel::cache
