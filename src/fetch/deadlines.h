// When whoever waits for a piece has waited long enough. Internal to fetch/.
//
// Most pieces come long before that, a thousand in a second, and their deadline is a minute away:
// what is kept for one that is gone (its memory too, because a weak pointer holds the place that
// the piece stood in) is let go from time to time, when half of everything may be that.
#pragma once

#include <algorithm>
#include <map>
#include <memory>

#include "fetch/piece.h"

namespace runnel::fetch {

// One thread at a time. Keeps no piece alive.
class Deadlines {
 public:
  static constexpr size_t kFew = 1024;

  void add(SteadyTime deadline, const std::shared_ptr<Piece>& piece) {
    if (entries_.size() >= look_again_at_) {
      std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
      look_again_at_ = 2 * entries_.size() + kFew;
    }
    entries_.emplace(deadline, piece);
  }

  // max() for never.
  SteadyTime next() const { return entries_.empty() ? SteadyTime::max() : entries_.begin()->first; }

  // Those of which a deadline has passed, and that are there still; one may be there twice.
  Pieces take_due(SteadyTime now) {
    Pieces due;
    const auto end = entries_.upper_bound(now);
    for (auto at = entries_.begin(); at != end; ++at) {
      if (auto piece = at->second.lock()) due.push_back(std::move(piece));
    }
    entries_.erase(entries_.begin(), end);
    return due;
  }

  size_t size() const { return entries_.size(); }

 private:
  std::multimap<SteadyTime, std::weak_ptr<Piece>> entries_;
  size_t look_again_at_ = kFew;
};

}  // namespace runnel::fetch
