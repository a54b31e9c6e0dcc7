// When images' boot blobs are made anew after votes: a second after the first one, so that a
// rollout's come together, and at most once a minute for an image. An image is made anew once at a
// time, different ones may be at once. Of those whose votes an earlier process left, one at a time:
// a vote of now finds whoever else works free for it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::registry {

// Of an image.
inline constexpr auto kRenewalsApart = std::chrono::minutes(1);

// One thread at a time; it has no clock of its own.
class BootSchedule {
 public:
  // A repository, and a digest in it.
  using Image = std::pair<std::string, oci::Digest>;

  // Somebody voted. Forgotten when 10,000 images wait: the next vote brings it back.
  void voted(const Image& image, SteadyTime now);
  // Somebody did, before this process began. Nothing new when it waits already.
  void left_over(const Image& image, SteadyTime now);
  // How many of these wait, and nobody has voted for since.
  size_t left_overs() const { return left_overs_.size(); }
  // When the next image is due that may be taken; nothing when there is none.
  std::optional<SteadyTime> next() const;
  // The image that waits longest of those that are due and not taken; it waits no more.
  std::optional<Image> take(SteadyTime now);
  // A taken image may be taken again. One that was made anew, not just looked at, at `made` waits
  // out its minute first, with what was voted meanwhile.
  void done(const Image& image, std::optional<SteadyTime> made);

 private:
  std::map<Image, SteadyTime>::const_iterator first() const;

  std::map<Image, SteadyTime> due_;
  std::set<Image> taken_;
  std::set<Image> left_overs_;            // of those that are due
  std::optional<Image> taken_left_over_;  // the one of those that are taken
  std::map<Image, SteadyTime> made_;      // of the last minute
};

}  // namespace runnel::registry
