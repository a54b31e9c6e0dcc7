// An image's artifacts, asked for as soon as anything says that the image will be wanted: by the
// time its manifest has come, the answer is mostly here.
#pragma once

#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "convert/find_artifact.h"
#include "oci/digest.h"

namespace runnel::node {

// An image's manifest, and where it is said to be.
struct WantedImage {
  std::string host;
  std::string repository;
  oci::Digest manifest;

  auto operator<=>(const WantedImage&) const = default;
};

// Any thread may call any method. The end waits for what is under way.
class ArtifactLookups {
 public:
  using Found = Result<std::vector<convert::FoundArtifact>>;
  // Asks the registry; for a bounded time, on any thread.
  using Ask = std::function<Found(const WantedImage& image)>;

  // An answer that is older is not used: the artifact may have come since.
  static constexpr Duration kFresh = std::chrono::seconds(5);
  // Under way, and answered and not taken yet: one may be 32 MiB. What is more than that is asked
  // when it is taken.
  static constexpr size_t kMost = 4;

  ArtifactLookups(Ask ask, const Clock& clock) : ask_(std::move(ask)), clock_(clock) {}

  // Somebody may take it soon. Returns at once; what nobody takes is forgotten.
  void begin(const WantedImage& image);

  // What was begun a moment ago, once, or is begun now. What was denied early is asked again.
  std::future<Found> take(const WantedImage& image);

 private:
  struct Early {
    SteadyTime begun{};
    std::future<Found> found;
  };
  std::future<Found> take_early(const WantedImage& image);

  const Ask ask_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<WantedImage, Early> early_;
  size_t running_ = 0;
  WorkerPool pool_{kMost};  // last: its tasks use the rest
};

}  // namespace runnel::node
