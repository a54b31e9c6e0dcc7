// Where each chunk of a layer stands, and what the next sync has to do about it. No I/O.
//
//   absent ──written()──▶ written ──begin_sync()──▶ syncing ──synced()──▶ durable
//   suspect ──checked()──▶ written                  any ──drop()──▶ absent
//
// A suspect chunk that is right in the file is not durable for that: an earlier process may have
// written it, over one that was wrong, and have died before it synced; then it is right in the page
// cache and wrong on disk. So it takes the same way as one that this process wrote.
//
// `syncing` is a state of its own because a chunk may be dropped and written again while a sync
// runs: that sync says nothing about the second write.
#pragma once

#include <cstdint>
#include <vector>

#include "artifact/chunk_table.h"

namespace runnel::cache {

// One thread at a time.
class ChunkStates {
 public:
  enum class State : uint8_t { kAbsent, kSuspect, kWritten, kSyncing, kDurable };

  // All absent. The table must outlive this.
  explicit ChunkStates(const artifact::ChunkTable& table)
      : table_(table), states_(table.size(), State::kAbsent) {}

  State of(uint32_t chunk) const { return states_[chunk]; }
  uint32_t size() const { return static_cast<uint32_t>(states_.size()); }

  // An absent chunk that has a bit on disk: believed, or to be looked at first.
  void found(uint32_t chunk, bool trusted);
  // Its bytes were handed to the file.
  void written(uint32_t chunk);
  // Its bytes in the file are right. Tells nothing about one that is not suspect.
  void checked(uint32_t chunk);
  // What is on disk of it is not to be used.
  void drop(uint32_t chunk);

  // One sync: the bits of `untrue` are cleared, then `data` is made durable and gets its bits.
  struct Round {
    std::vector<uint32_t> untrue;
    std::vector<uint32_t> data;
  };
  Round begin_sync();
  // Nothing was done: the next round has it all again.
  void put_back(const Round& round);
  // Returns the chunks that are durable now.
  std::vector<uint32_t> synced(const Round& round);
  // The data may be lost, and so may what was written while the sync ran, and what an earlier
  // process wrote of the suspects: the kernel reports a lost write once. Returns the chunks that
  // are absent now.
  std::vector<uint32_t> lost(const Round& round);

  uint64_t present_bytes() const { return present_bytes_; }
  uint32_t suspects() const { return suspects_; }
  bool all_durable() const { return durable_ == states_.size(); }

 private:
  const artifact::ChunkTable& table_;
  std::vector<State> states_;
  std::vector<uint32_t> unsynced_;  // written or checked since the last round began
  std::vector<uint32_t> untrue_;    // their bits on disk must go before the next clean stop
  uint64_t present_bytes_ = 0;
  uint32_t durable_ = 0;
  uint32_t suspects_ = 0;
};

}  // namespace runnel::cache
