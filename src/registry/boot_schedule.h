// When images' boot blobs are made anew after votes: a second after the first one, so that a
// rollout's come together, and at most once a minute for an image.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::registry {

// One thread at a time; it has no clock of its own.
class BootSchedule {
 public:
  // A repository, and a digest in it.
  using Image = std::pair<std::string, oci::Digest>;

  // Somebody voted. Forgotten when 10,000 images wait: the next vote brings it back.
  void voted(const Image& image, SteadyTime now);
  // When the next image is due; nothing when none waits.
  std::optional<SteadyTime> next() const;
  // The image that waits longest of those that are due; it waits no more.
  std::optional<Image> take(SteadyTime now);
  // It was made anew: what was voted meanwhile waits out its minute, too.
  void made(const Image& image, SteadyTime now);

 private:
  std::map<Image, SteadyTime> due_;
  std::map<Image, SteadyTime> made_;  // of the last minute
};

}  // namespace runnel::registry
