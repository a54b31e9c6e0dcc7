// Which read is sent next: the order of everything that waits. No I/O and no clock of its own, so
// that every rule can be tried in a test. Internal to fetch/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fetch/piece.h"

namespace runnel::fetch {

// One thread at a time.
class Queue {
 public:
  void add_lane(std::shared_ptr<Lane> lane) { lanes_.push_back(std::move(lane)); }

  // Puts the waiter to the piece of that range that waits or is in flight (raising it when
  // `priority` is higher), or to a new one. `joined` says which.
  std::shared_ptr<Piece> add(const std::shared_ptr<Blob>& blob, uint64_t offset, uint64_t length,
                             Priority priority, Waiter waiter, bool& joined);

  // Takes the first read of that priority whose lane can be sent to, and its neighbours of the same
  // priority while they and it have at most `max_bytes`. In order of offset; empty when there is
  // none. The pieces are kInFlight then.
  Pieces take(Priority priority, SteadyTime now, uint64_t max_bytes);

  // Whether take() would give something.
  bool has_ready(Priority priority, SteadyTime now) const;

  // Back to its old place, at once or later.
  void put_back(const std::shared_ptr<Piece>& piece);
  void put_back(const std::shared_ptr<Piece>& piece, SteadyTime not_before);

  // Nobody waits for it any more, or it is complete.
  void remove(const std::shared_ptr<Piece>& piece);

  // Makes delayed pieces ready whose time has come.
  void wake(SteadyTime now);
  // When take() could give something that it would not give now; max() for never.
  SteadyTime next_change(SteadyTime now) const;

  // Every piece of the lane that waits, and of all lanes.
  Pieces waiting(const Lane& lane) const;
  Pieces all() const;
  uint64_t count(Priority priority) const;

 private:
  static bool can_send(const Lane& lane, SteadyTime now);
  void leave(const std::shared_ptr<Piece>& piece);
  void raise(const std::shared_ptr<Piece>& piece, Priority priority);
  Pieces with_neighbours(const std::shared_ptr<Piece>& first, uint64_t max_bytes) const;

  uint64_t next_order_ = 1;
  std::vector<std::shared_ptr<Lane>> lanes_;
  std::multimap<SteadyTime, std::shared_ptr<Piece>> delayed_;
};

}  // namespace runnel::fetch
