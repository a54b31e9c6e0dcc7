#include "node/artifact_lookups.h"

#include <memory>
#include <utility>

#include "base/side_thread.h"

namespace runnel::node {

namespace {

// Credentials may have been shown since. A registry that did not answer is not waited for twice.
bool may_be_otherwise(const ArtifactLookups::Found& found) {
  return !found && found.error().code == Code::kDenied;
}

}  // namespace

void ArtifactLookups::begin(const WantedImage& image) {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.now();
  std::erase_if(early_, [now](const auto& each) { return now - each.second.begun > kFresh; });
  if (running_ >= kMost || early_.size() >= kMost || early_.contains(image)) return;
  ++running_;
  auto promise = std::make_shared<std::promise<Found>>();
  early_[image] = {.begun = now, .found = promise->get_future()};
  pool_.submit([this, image, promise] {
    promise->set_value(ask_(image));
    const std::lock_guard done(mutex_);
    --running_;
  });
}

std::future<ArtifactLookups::Found> ArtifactLookups::take_early(const WantedImage& image) {
  const std::lock_guard lock(mutex_);
  const auto at = early_.find(image);
  if (at == early_.end()) return {};
  auto found = std::move(at->second.found);
  const bool fresh = clock_.now() - at->second.begun <= kFresh;
  early_.erase(at);
  return fresh ? std::move(found) : std::future<Found>();
}

std::future<ArtifactLookups::Found> ArtifactLookups::take(const WantedImage& image) {
  return std::async(kThreadIfThereIsOne, [this, image, early = take_early(image)]() mutable {
    if (early.valid()) {
      if (auto found = early.get(); !may_be_otherwise(found)) return found;
    }
    return ask_(image);
  });
}

}  // namespace runnel::node
