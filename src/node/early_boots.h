// Boot blobs that are fetched before their image's artifact is known, because the registry named
// them beside the image's manifest (artifact/boot_hint.h): by the time that the artifact was found
// and trusted, the front of its boot blob is mostly here. Nothing of one is used before.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "artifact/boot_hint.h"
#include "base/clock.h"
#include "node/artifact_lookups.h"
#include "node/boot_download.h"

namespace runnel::node {

// Any thread may call any method; none waits. The end waits for what is under way.
class EarlyBoots {
 public:
  // Each may hold BootDownload::kMostWaiting bytes. What is more than that begins when it is known.
  static constexpr size_t kMost = 2;
  static constexpr Duration kPatience = ArtifactLookups::kFresh;

  // Begins a download that ends by itself after kPatience. `known`: other images have, or are about
  // to bring, the hint's base.
  using Begin = std::function<std::shared_ptr<BootDownload>(
      const WantedImage& image, const artifact::BootHint& hint, bool known)>;

  EarlyBoots(Begin begin, const Clock& clock) : begin_(std::move(begin)), clock_(clock) {}

  // Somebody may take it soon. `known`: as Begin has it, without the downloads here.
  void begin(const WantedImage& image, const artifact::BootHint& hint, bool known);

  // What was begun for the image a moment ago, once; null unless it is of this very blob.
  std::shared_ptr<BootDownload> take(const WantedImage& image, const oci::Digest& blob,
                                     uint64_t size);
  // Nobody will take it.
  void give_up(const WantedImage& image);

  // Whether one that nobody has taken yet is about to bring this layer.
  bool may_bring(const oci::Digest& layer);

 private:
  struct Early {
    SteadyTime begun{};
    artifact::BootHint hint;
    std::shared_ptr<BootDownload> download;
  };
  bool may_bring_locked(const oci::Digest& layer) const;
  void sweep_locked();
  void depart_locked(Early early);

  const Begin begin_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<WantedImage, Early> early_;
  // Cancelled ones that a registry keeps waiting.
  std::vector<std::shared_ptr<BootDownload>> departed_;
};

}  // namespace runnel::node
