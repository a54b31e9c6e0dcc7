// What people and programs are told of the images.
#include <algorithm>
#include <iterator>

#include "node/images.h"

namespace runnel::node {

namespace {

using LayerStatus = Images::LayerStatus;
using engine::Engine;

LayerStatus::Mounted how_mounted(const Engine::ServedLayers& mounted, const std::string& digest) {
  const auto found = mounted.find(digest);
  if (found == mounted.end()) return LayerStatus::Mounted::kNo;
  return found->second ? LayerStatus::Mounted::kServed : LayerStatus::Mounted::kPlain;
}

LayerStatus layer_status(const std::string& digest, const cache::Layer& layer,
                         const Engine::ServedLayers& mounted) {
  auto stats = layer.stats();
  return {.digest = digest,
          .bytes = layer.size(),
          .present = stats.bytes_present + stats.bytes_in_memory,
          .fetched = stats.bytes_fetched,
          .borrowed = stats.bytes_borrowed,
          .page_cache = 0,
          .complete = stats.complete,
          .mounted = how_mounted(mounted, digest),
          .failed_reads = stats.failed_reads,
          .corrupt_chunks = stats.corrupt_chunks,
          .last_error = std::move(stats.last_error)};
}

// Of an image whose layers could not all be opened.
Verdict verdict_on_lacking(const Error& error) {
  const bool full = error.code == Code::kExhausted;
  return {.reason = full ? Reason::kDiskFull : Reason::kSourceUnavailable,
          .detail = error.in("not all of its layers can be opened").message};
}

}  // namespace

std::vector<LayerStatus> Images::layers_of(const StreamedImage& image, size_t count,
                                           const Engine::ServedLayers& mounted) const {
  std::vector<LayerStatus> layers;
  for (const auto& digest : device_digests(image.boot, count)) {
    const auto layer = engine_.layer(digest);
    if (layer) layers.push_back(layer_status(digest.to_string(), *layer, mounted));
  }
  return layers;
}

std::vector<LayerStatus> Images::layers_of(const std::string& chain_id,
                                           const Engine::ServedLayers& mounted) const {
  const auto place = find(chain_id);
  return place ? layers_of(*place->image, place->layers, mounted) : std::vector<LayerStatus>();
}

Images::ImageStatus Images::status_of(const Image& image) {
  return {.name = image.name(),
          .verdict = image.verdict,
          .preparing = image.preparing,
          .streamed = image.streamed != nullptr,
          .chain_ids = image.chain_ids,
          .readable_until = std::nullopt,
          .boot_bytes = 0,
          .layers = {}};
}

// What the layers of an image that streams say.
void Images::add_layers(const StreamedImage& image, bool only_by_token, bool disk_full,
                        const Engine::ServedLayers& mounted, ImageStatus& status) const {
  status.boot_bytes = image.artifact.boot_size;
  status.layers = layers_of(image, image.chain_ids.size(), mounted);
  if (std::ranges::all_of(status.layers, &LayerStatus::complete)) return;
  if (only_by_token) status.readable_until = registries_.token_end(image.host, image.repository);
  if (auto words = registries_.denied(image.host, image.repository))
    status.verdict = {.reason = Reason::kCredentialsMissing,
                      .detail = fmt::format("what is not here yet cannot be read: {}; runnel login "
                                            "{}, or pull the image again",
                                            *words, image.host)};
  if (disk_full)
    status.verdict = {.reason = Reason::kDiskFull,
                      .detail = "reads of what is not here fail until there is room"};
}

// Under the lock only what the images are; their layers are asked after it.
std::vector<Images::ImageStatus> Images::status() const {
  struct Seen {
    ImageStatus status;
    std::shared_ptr<const StreamedImage> streamed;
    bool only_by_token;
    std::optional<Error> lacking;
  };
  std::vector<Seen> seen;
  std::vector<ImageStatus> left_alone;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [subject, image] : images_) {
      seen.push_back({.status = status_of(*image),
                      .streamed = image->streamed,
                      .only_by_token = image->only_by_token,
                      .lacking = std::nullopt});
      const auto lacking = lacking_.find(subject);
      if (lacking != lacking_.end()) seen.back().lacking = lacking->second.error;
    }
    for (const auto& [reference, verdict] : left_alone_) {
      ImageStatus status;
      status.name = reference;
      status.verdict = verdict;
      left_alone.push_back(std::move(status));
    }
  }
  const bool disk_full = engine_.cache_status().state == cache::Budget::State::kFull;
  const auto mounted = engine_.served_layers();
  std::vector<ImageStatus> statuses;
  for (auto& each : seen) {
    if (each.streamed)
      add_layers(*each.streamed, each.only_by_token, disk_full, mounted, each.status);
    if (each.streamed && each.lacking) each.status.verdict = verdict_on_lacking(*each.lacking);
    statuses.push_back(std::move(each.status));
  }
  std::ranges::move(left_alone, std::back_inserter(statuses));
  return statuses;
}

void Images::add_page_cache(std::vector<ImageStatus>& statuses) {
  std::map<std::string, PageCacheMeter::Measure> layers;
  for (const auto& status : statuses) {
    for (const auto& layer : status.layers) {
      const auto digest = oci::Digest::parse(layer.digest);
      auto open = digest ? engine_.layer(*digest) : nullptr;
      if (open)
        layers[layer.digest] = [open = std::move(open)] { return open->page_cache_bytes(); };
    }
  }
  const auto measured = page_cache_.measure(layers);
  for (auto& status : statuses) {
    for (auto& layer : status.layers) {
      const auto found = measured.find(layer.digest);
      if (found != measured.end()) layer.page_cache = found->second;
    }
  }
}

}  // namespace runnel::node
