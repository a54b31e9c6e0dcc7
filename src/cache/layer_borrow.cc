// Layer: chunks that another layer of this node has already.
#include "base/log.h"
#include "cache/chunk_index.h"
#include "cache/layer.h"
#include "codec/sha256.h"

namespace runnel::cache {

using fetch::Priority;

bool Layer::holds(uint32_t chunk) const {
  if (!lends_) return false;
  const std::lock_guard lock(mutex_);
  return states_.of(chunk) == State::kDurable;
}

Result<void> Layer::lend(uint32_t chunk, MutableBytes into) const {
  return device_->read(into, table_.at(chunk).device_offset());
}

bool Layer::can_borrow(uint32_t chunk) const {
  return workers_.chunks != nullptr && workers_.chunks->find(table_.at(chunk).digest).has_value();
}

// Those of them that another layer has are on their way from there; the others are returned.
std::vector<uint32_t> Layer::borrow(const std::vector<uint32_t>& chunks, Priority priority,
                                    SteadyTime deadline, const std::shared_ptr<FillRun>& fill) {
  if (workers_.chunks == nullptr) return chunks;
  std::vector<uint32_t> lacking;
  for (const uint32_t chunk : chunks) {
    auto place = workers_.chunks->find(table_.at(chunk).digest);
    if (!place) {
      lacking.push_back(chunk);
      continue;
    }
    note_fetch({.first = chunk, .last = chunk}, priority, deadline);
    workers_.verify.submit(
        [self = at_work(), chunk, place = *std::move(place), priority, deadline, fill] {
          if (self->take(chunk, place, fill)) return;
          auto part = self->part_of({.first = chunk, .last = chunk}, fill);
          self->source_->read(part.offset, part.length, priority, deadline, std::move(part.done));
        });
  }
  return lacking;
}

// False, and nothing done, when it is not there any more as it was.
bool Layer::take(uint32_t chunk, const ChunkIndex::Place& from,
                 const std::shared_ptr<FillRun>& fill) {
  const auto at = table_.at(chunk);
  auto plain = std::make_shared<ChunkBytes>(at.size());
  if (from.layer->table().at(from.chunk).size() != at.size()) return false;
  if (!from.layer->lend(from.chunk, plain->all()) || codec::sha256(plain->all()) != at.digest) {
    log::warning(about(), "chunk {} is not in {} as it was; fetching it", chunk,
                 from.layer->device_path());
    return false;
  }
  if (still_wanted(chunk, workers_.clock.now())) {
    {
      const std::lock_guard lock(mutex_);
      stats_.bytes_borrowed += at.size();
      origins_[chunk] = Origin::kNode;
    }
    deliver(chunk, std::move(plain), Keep::kIfRoom);
  }
  if (fill) fill_arrived(*fill, true);
  return true;
}

}  // namespace runnel::cache
