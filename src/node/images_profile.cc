// Images: the recording of a start.
#include <algorithm>
#include <tuple>

#include "node/images.h"

namespace runnel::node {

namespace {

constexpr auto kLongestStart = std::chrono::seconds(30);
constexpr uint64_t kSmallestPart = 4;  // of the image's bytes a start reads one part at most

struct Seen {
  SteadyTime at;
  artifact::Profile::Chunk chunk;
};

artifact::Profile in_order(std::vector<Seen> seen) {
  std::ranges::sort(seen, {}, [](const Seen& each) {
    return std::tuple(each.at, each.chunk.layer, each.chunk.chunk);
  });
  artifact::Profile profile;
  for (const auto& each : seen) {
    if (each.at - seen.front().at > kLongestStart) break;
    if (profile.chunks.size() == artifact::kMaxProfileChunks) break;
    profile.chunks.push_back(each.chunk);
  }
  return profile;
}

}  // namespace

std::vector<StartWatch::Start> Images::starts() const {
  std::vector<std::pair<std::shared_ptr<const StreamedImage>, SteadyTime>> streaming;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [subject, each] : images_)
      if (each->streamed && each->decided != SteadyTime() &&
          each->streamed->artifact.artifact_type == artifact::kAzureArtifactType)
        streaming.emplace_back(each->streamed, each->decided);
  }
  std::vector<StartWatch::Start> starts;
  for (const auto& [image, mounted] : streaming) {
    StartWatch::Start start{.image = image->subject, .mounted = mounted};
    for (const size_t record : artifact::records_with_tables(image->boot.head.layers)) {
      const auto& digest = image->boot.head.layers[record].blob_digest;
      const auto layer = engine_.layer(oci::Digest::from_sha256(digest));
      const auto span = layer ? layer->touched(mounted) : std::nullopt;
      if (!span) continue;
      start.first_touch = std::min(start.first_touch.value_or(span->first), span->first);
      start.last_touch = std::max(start.last_touch, span->last);
    }
    starts.push_back(start);
  }
  return starts;
}

Result<oci::Reference> Images::reference_of(const oci::Digest& image) const {
  const std::lock_guard lock(mutex_);
  const auto found = images_.find(image);
  if (found == images_.end() || !found->second->streamed)
    return fail(Code::kNotFound, "{} does not stream here", image);
  oci::Reference reference;
  reference.host = found->second->host;
  reference.repository = found->second->repository;
  reference.digest = image;
  return reference;
}

Result<artifact::Profile> Images::profile(const oci::Reference& reference) const {
  std::shared_ptr<const StreamedImage> image;
  SteadyTime mounted;
  {
    const std::lock_guard lock(mutex_);
    if (const auto latest = latest_locked(reference, Which::kStreamed)) {
      image = latest->streamed;
      mounted = latest->decided;
    }
  }
  if (!image) return fail(Code::kNotFound, "{} does not stream here", reference.to_string());

  std::vector<oci::Digest> layers;
  std::vector<Seen> seen;
  for (const size_t record : artifact::records_with_tables(image->boot.head.layers)) {
    const auto& digest = image->boot.head.layers[record].blob_digest;
    layers.push_back(oci::Digest::from_sha256(digest));
    const auto layer = engine_.layer(layers.back());
    if (!layer) continue;
    const auto index = static_cast<uint16_t>(layers.size() - 1);
    for (const auto& touch : layer->touches()) {
      if (touch.at < mounted) continue;
      seen.push_back({.at = touch.at, .chunk = {.layer = index, .chunk = touch.chunk}});
    }
  }
  auto profile = in_order(std::move(seen));
  profile.image = image->name();
  profile.layers = std::move(layers);
  return profile;
}

Result<artifact::Profile> Images::start_profile(const oci::Reference& reference) const {
  RUNNEL_TRY(auto start, profile(reference));
  std::vector<std::shared_ptr<cache::Layer>> layers;
  uint64_t all = 0;
  for (const auto& digest : start.layers) {
    layers.push_back(engine_.layer(digest));
    if (layers.back()) all += layers.back()->table().frame_bytes();
  }
  uint64_t read = 0;
  for (const auto& [layer, chunk] : start.chunks) {
    if (layers[layer]) read += layers[layer]->table().at(chunk).stored_size;
  }
  if (read > all / kSmallestPart)
    return fail(Code::kInvalid, "{} of {} bytes were read: more than a start does", read, all);
  return start;
}

}  // namespace runnel::node
