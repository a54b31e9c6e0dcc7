// Which layers' sources are silent, and how long a read of such a layer may wait.
//
// A reader that needs pages which another reader's request has locked waits for that request, and
// the kernel sends its own only when the first has ended with an error. With a registry that is
// gone each of them would wait for its whole time, one after the other: eight readers with sixty
// seconds each. So once a read has waited for its time and not one chunk of the layer came
// meanwhile, everything else that waits for the layer gets little time, and so does what comes
// later; the chain ends.
//
//   chunk came since that read was taken    not silent: every read has its whole time again
//   bytes came since, but no whole chunk    once, half of a read's time more: a slow line; a source
//                                           that drips is no better than a silent one afterwards
//   nothing                                 while_silent() from now on
//
// What a cut read had fetched is mostly given up with it, or a registry that comes back after an
// hour would send what nobody waits for any more. But a registry that answers after three seconds
// has to be found as well: now and then one fetch may take its whole time (a probe).
//
// Rejected: to remember the registry and not the layer. One registry may give one blob and not the
// other, from different storage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>

#include "base/clock.h"
#include "cache/layer.h"

namespace runnel::engine {

// One thread at a time. Layers go by any number that stands for them.
class Silence {
 public:
  // `timeout`: a read's whole time.
  explicit Silence(Duration timeout) : timeout_(timeout) {}

  // What a read of a silent layer gets: two seconds, which is what the fetcher needs for another
  // attempt at a registry, or an eighth of a read's whole time.
  Duration while_silent() const {
    return std::min<Duration>(std::chrono::seconds(2), timeout_ / 8);
  }

  // A read that was taken at `taken` has ended without its bytes. True when the layer is silent
  // since now. A read that did not wait for half its time says nothing of the source, nor does one
  // of a layer that asked its source for nothing.
  bool failed(uint64_t layer, SteadyTime taken, SteadyTime now, const cache::SourceSigns& signs);

  // Until when a read that waits since `since` may wait for the layer; empty when it is not silent.
  std::optional<SteadyTime> until(uint64_t layer, SteadyTime since,
                                  const cache::SourceSigns& signs);

  // Whether a fetch that begins now is to take its whole time although its reader may not.
  bool probe(uint64_t layer, SteadyTime now);

  bool is_silent(uint64_t layer) const { return layers_.contains(layer); }
  bool empty() const { return layers_.empty(); }

 private:
  struct Since {
    SteadyTime taken;    // of the read that found out
    SteadyTime noticed;  // when that read ended
    SteadyTime failed;   // the last one
    SteadyTime probed{};
  };

  const Duration timeout_;
  std::map<uint64_t, Since> layers_;
};

}  // namespace runnel::engine
