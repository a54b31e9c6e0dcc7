// Makes an image's boot blob anew out of what nodes tell of its starts (profile_votes.h).
//
// When what the votes have in common differs by more than a tenth from what the newest artifact was
// made of, the image gets another artifact: the same layer blobs, a boot blob that brings those
// chunks, one generation higher, at the times of boot_schedule.h. The artifact that it replaces
// stays for a day, because pulls and nodes may be at it, and as long as none is newer. The
// artifacts that an index has for the image are renewed with it. Four images are renewed at once,
// so that one that takes long holds up none of the others. What a process was about to do when it
// ended, the next one does: at its start it looks for images whose votes want another boot blob.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "registry/boot_profiles.h"
#include "registry/boot_schedule.h"
#include "registry/image_conversion.h"
#include "registry/profile_votes.h"

namespace runnel::registry {

// Any thread may call any method.
class BootRenewal {
 public:
  // The references must outlive it.
  BootRenewal(const ConversionTools& tools, const Clock& clock);
  // Gives up what is under way.
  ~BootRenewal();

  // Somebody voted. Returns at once.
  void voted(const std::string& repository, const oci::Digest& image);

 private:
  struct Looked {
    std::optional<SteadyTime> made;  // the boot blob, by this process or by another
    bool again = false;              // when its minute is over
  };

  void run(const std::stop_token& stop);
  Looked renew(const BootSchedule::Image& image, const std::stop_token& stop);
  void find_left_overs(const std::stop_token& stop);

  const ConversionTools& tools_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  BootSchedule schedule_;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

// What an image's next boot blob is to be made of, and what it comes after.
struct BootWanted {
  Voted voted;
  std::vector<ImageArtifact> artifacts;
  ImageArtifact newest;
  std::optional<WallTime> newest_made;  // of votes; empty when it was not, or nobody knows
};

// Empty when there is nothing to do: no votes, no artifact of this program's version, or not enough
// that is new.
Result<std::optional<BootWanted>> wanted_boot(meta::MetadataStore& metadata,
                                              const std::string& repository,
                                              const oci::Digest& image);
// Makes it. Blocks for as long as it takes.
Convertible<void> renew_boot(const ConversionTools& tools, const std::string& repository,
                             const oci::Digest& image, BootWanted wanted, WallTime now,
                             const std::function<bool()>& give_up);

// From `now` on the artifact's day runs.
Result<void> supersede(meta::MetadataStore& metadata, const std::string& repository,
                       const oci::Digest& artifact, WallTime now);
// Looks at the artifacts whose day is over at `now`, some of them, and deletes those that have been
// replaced; the number that it looked at.
Result<size_t> remove_superseded(meta::MetadataStore& metadata, WallTime now);

}  // namespace runnel::registry
