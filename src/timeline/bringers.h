// Which request brought a read its bytes: the events of a start name none, so it is found by layer,
// range and time.
#pragma once

#include <cstdint>
#include <vector>

#include "timeline/events.h"

namespace runnel::timeline {

// The requests must outlive it. One thread.
class Bringers {
 public:
  explicit Bringers(const std::vector<Request>& requests);
  const Request* of(const Read& read) const;

 private:
  std::vector<std::vector<const Request*>> by_layer_;  // each by `first`
  std::vector<uint64_t> longest_;                      // range in each
  const Request* boot_blob_ = nullptr;
};

}  // namespace runnel::timeline
