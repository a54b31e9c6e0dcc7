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
// Where requests are sent one after the other (a loop device that waits, probe.h), one more is
// needed: a source may give some chunks and stall others, for ever. Nobody is silent then, and each
// stalled request would make all behind it wait for a timeout. So for one timeout after a read has
// waited in vain, what waits for the layer gets as little time as of a silent one, and less after
// every eight more that were in vain. The bound of a read is two timeouts then, however that source
// behaves, with up to 150 stalled requests before it.
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

  // Whether requests of a layer come one after the other. False at first.
  void set_one_by_one(bool one_by_one) { one_by_one_ = one_by_one; }

  // A read that was taken at `taken` has ended without its bytes. True when reads of the layer get
  // little time since now. A read that did not wait for half its time says nothing of the source,
  // nor does one of a layer that asked its source for nothing.
  bool failed(uint64_t layer, SteadyTime taken, SteadyTime now, const cache::SourceSigns& signs);

  // Until when a read that waits since `since` may wait for the layer; empty for its whole time.
  std::optional<SteadyTime> until(uint64_t layer, SteadyTime since,
                                  const cache::SourceSigns& signs);

  // Whether a fetch that begins now is to take its whole time although its reader may not.
  bool probe(uint64_t layer, SteadyTime now);

  bool is_silent(uint64_t layer) const { return layers_.contains(layer); }
  bool empty() const { return layers_.empty(); }

 private:
  Duration patience(int in_vain) const;

  struct Since {
    SteadyTime taken;    // of the read that found out
    SteadyTime noticed;  // when that read ended
    SteadyTime failed;   // the last one
    SteadyTime probed{};
    bool gives_others = false;  // chunks came while that read waited
    int in_vain = 0;            // reads since
  };

  const Duration timeout_;
  bool one_by_one_ = false;
  std::map<uint64_t, Since> layers_;
};

}  // namespace runnel::engine
