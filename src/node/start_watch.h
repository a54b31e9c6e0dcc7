// Tells when the starts of images are over, so that what they read first can be told to the
// registry: two seconds after the last chunk that was new, or half a minute after the first.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::node {

// One thread at a time; it has no clock of its own.
class StartWatch {
 public:
  // An image that was pulled while this process runs.
  struct Start {
    oci::Digest image;
    SteadyTime mounted{};
    // Of the chunks that were read since then; nothing when none was.
    std::optional<SteadyTime> first_touch;
    SteadyTime last_touch{};
  };

  // Those of `starts` that are over at `now` and were not named before, or failed a minute ago.
  // What is not in `starts` is forgotten: an image that is pulled again starts again.
  std::vector<oci::Digest> over(const std::vector<Start>& starts, SteadyTime now);

  // What was named could not be told, for a reason that may pass. After three times it is left.
  void failed(const oci::Digest& image, SteadyTime now);

 private:
  struct Told {
    SteadyTime mounted{};
    int failures = 0;
    std::optional<SteadyTime> again;
  };

  std::map<oci::Digest, Told> told_;
};

}  // namespace runnel::node
