// What people and programs are told of the images.
#include <algorithm>

#include "node/images.h"

namespace runnel::node {

namespace {

using LayerStatus = Images::LayerStatus;

LayerStatus::Mounted how_mounted(const std::map<std::string, bool>& mounted,
                                 const std::string& digest) {
  const auto found = mounted.find(digest);
  if (found == mounted.end()) return LayerStatus::Mounted::kNo;
  return found->second ? LayerStatus::Mounted::kServed : LayerStatus::Mounted::kPlain;
}

LayerStatus layer_status(const std::string& digest, const cache::Layer& layer,
                         const std::map<std::string, bool>& mounted) {
  auto stats = layer.stats();
  return {.digest = digest,
          .bytes = layer.size(),
          .present = stats.bytes_present,
          .fetched = stats.bytes_fetched,
          .page_cache = layer.page_cache_bytes(),
          .complete = stats.complete,
          .mounted = how_mounted(mounted, digest),
          .failed_reads = stats.failed_reads,
          .corrupt_chunks = stats.corrupt_chunks,
          .last_error = std::move(stats.last_error)};
}

}  // namespace

std::vector<LayerStatus> Images::layers_of(const Place& place) const {
  std::vector<LayerStatus> layers;
  const auto mounted = engine_.served_layers();
  for (const auto& digest : device_digests(place.image->boot, place.layers)) {
    const auto layer = engine_.layer(digest);
    if (layer) layers.push_back(layer_status(digest.to_string(), *layer, mounted));
  }
  return layers;
}

std::vector<LayerStatus> Images::layers_of(const std::string& chain_id) const {
  const std::lock_guard lock(mutex_);
  const auto place = find_locked(chain_id);
  return place ? layers_of(*place) : std::vector<LayerStatus>();
}

Images::ImageStatus Images::status_of(const Image& image) const {
  ImageStatus status{.name = image.name(),
                     .verdict = image.verdict,
                     .preparing = image.preparing,
                     .streamed = image.streamed != nullptr,
                     .chain_ids = image.chain_ids,
                     .readable_until = std::nullopt,
                     .boot_bytes = 0,
                     .layers = {}};
  if (!image.streamed) return status;
  status.boot_bytes = image.streamed->artifact.boot_size;
  bool complete = true;
  status.layers = layers_of({.image = image.streamed, .layers = image.chain_ids.size()});
  for (const auto& layer : status.layers) complete = complete && layer.complete;
  if (complete) return status;
  if (image.only_by_token)
    status.readable_until = registries_.token_end(image.host, image.repository);
  if (auto words = registries_.denied(image.host, image.repository))
    status.verdict = {.reason = Reason::kCredentialsMissing,
                      .detail = fmt::format("what is not here yet cannot be read: {}; runnel login "
                                            "{}, or pull the image again",
                                            *words, image.host)};
  return status;
}

std::vector<Images::ImageStatus> Images::status() const {
  std::vector<ImageStatus> statuses;
  const bool disk_full = engine_.cache_status().state == cache::Budget::State::kFull;
  const std::lock_guard lock(mutex_);
  for (const auto& [subject, image] : images_) {
    auto status = status_of(*image);
    const bool incomplete = std::ranges::any_of(
        status.layers, [](const LayerStatus& layer) { return !layer.complete; });
    if (disk_full && incomplete) {
      status.verdict = {.reason = Reason::kDiskFull,
                        .detail = "reads of what is not here fail until there is room"};
    }
    statuses.push_back(std::move(status));
  }
  for (const auto& [reference, verdict] : left_alone_) {
    ImageStatus status;
    status.name = reference;
    status.verdict = verdict;
    statuses.push_back(std::move(status));
  }
  return statuses;
}

}  // namespace runnel::node
