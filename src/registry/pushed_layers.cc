#include "registry/pushed_layers.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>

#include "base/log.h"
#include "registry/boot_profiles.h"
#include "registry/converted_layers.h"

namespace runnel::registry {

namespace {

// Pushes beyond that are left to the first vote.
constexpr size_t kMaxWaiting = 1000;
constexpr auto kLookForRest = std::chrono::seconds(1);
constexpr int kNice = 15;

// A layer of an image, and the blobs that artifacts say it becomes.
struct Said {
  oci::Digest diff_id;
  std::vector<ConvertedLayer> made;
};

// By the source layer: those of which nothing is known here.
Convertible<std::map<oci::Digest, Said>> unknown_layers(const ConversionTools& tools,
                                                        const std::string& repository,
                                                        const oci::Digest& digest) {
  auto& metadata = tools.metadata;
  RUNNEL_TRY(const auto source,
             read_conversion_source(metadata, tools.blobs, repository, digest, {}));
  RUNNEL_TRY(const auto artifacts, artifacts_of(metadata, repository, digest));
  const ConvertedLayers known(metadata, tools.blobs);
  std::map<oci::Digest, Said> unknown;
  for (const auto& image : source.images) {
    std::map<oci::Digest, oci::Digest> diff_ids;
    for (size_t i = 0; i < image.manifest.layers.size(); ++i)
      diff_ids.emplace(image.manifest.layers[i].digest, image.config.diff_ids[i]);
    for (const auto& each : artifacts) {
      const auto& artifact = each.artifact;
      // Of other bytes than ours for sure, or of our own.
      if (artifact.producer != artifact::producer() ||
          artifact::verify(artifact, image.manifest.config.digest, tools.key))
        continue;
      for (const auto& layer : artifact.layers) {
        const auto diff_id = diff_ids.find(layer.source);
        if (diff_id == diff_ids.end() || diff_id->second != layer.diff_id) continue;
        RUNNEL_TRY(const auto found, known.find(layer.source, layer.diff_id));
        if (found) continue;
        auto& said = unknown[layer.source];
        said.diff_id = layer.diff_id;
        said.made.push_back({.blob = layer.blob, .size = layer.blob_size});
      }
    }
  }
  return unknown;
}

// What the layer becomes here; its bytes are let go.
Convertible<ConvertedLayer> make(const ConversionTools& tools, const oci::Digest& layer,
                                 const oci::Digest& diff_id, const std::function<bool()>& give_up) {
  RUNNEL_TRY(const auto content, tools.blobs.open(layer));
  const auto* source = content ? std::get_if<blob::FileContent>(&*content) : nullptr;
  if (source == nullptr)
    return std::unexpected(
        ConversionFailure(Error(Code::kUnavailable, fmt::format("layer {} is not there", layer))));
  oci::Digester digester;
  uint64_t size = 0;
  const auto done = convert::convert_in_worker(tools.program, tools.config.conversion.limits, 1,
                                               {.diff_id = diff_id, .source_size = source->size},
                                               source->file->get(),
                                               [&](Bytes bytes) -> Result<void> {
                                                 digester.update(bytes);
                                                 size += bytes.size();
                                                 return {};
                                               },
                                               {.give_up = give_up});
  if (!done)
    return std::unexpected(worker_failure(done.error().in(fmt::format("layer {}", layer))));
  return ConvertedLayer{.blob = digester.finish(), .size = size};
}

}  // namespace

PushedLayers::PushedLayers(const ConversionTools& tools, meta::OperationQueue& queue)
    : tools_(tools), queue_(queue), thread_([this](const std::stop_token& stop) { run(stop); }) {}

PushedLayers::~PushedLayers() {
  thread_.request_stop();
}

void PushedLayers::pushed(const std::string& repository, const oci::Digest& image) {
  const std::lock_guard lock(mutex_);
  std::pair wanted(repository, image);
  if (waiting_.size() >= kMaxWaiting || std::ranges::find(waiting_, wanted) != waiting_.end())
    return;
  waiting_.push_back(std::move(wanted));
  wake_.notify_all();
}

bool PushedLayers::wait_for_rest(const std::stop_token& stop) {
  const auto is_any = [&](meta::OperationStatus status) {
    const auto some = queue_.operations({.status = status}, std::numeric_limits<int64_t>::max(), 1);
    return !some || !some->empty();
  };
  std::unique_lock lock(mutex_, std::defer_lock);
  while (!stop.stop_requested()) {
    if (!is_any(meta::OperationStatus::kRunning) && !is_any(meta::OperationStatus::kNotStarted))
      return true;
    lock.lock();
    wake_.wait_for(lock, stop, kLookForRest, [] { return false; });
    lock.unlock();
  }
  return false;
}

void PushedLayers::run(const std::stop_token& stop) {
  // This thread's alone, and of the workers that it starts (setpriority(2), "C library/kernel
  // differences").
  if (::setpriority(PRIO_PROCESS, 0, kNice) != 0)
    log::warning("layers that are pushed are looked at with the others' priority: {}",
                 std::strerror(errno));
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [&] { return !waiting_.empty(); })) {
    const auto [repository, image] = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    check(repository, image, stop);
    lock.lock();
  }
}

void PushedLayers::check(const std::string& repository, const oci::Digest& image,
                         const std::stop_token& stop) {
  const auto give_up = [&] { return stop.stop_requested(); };
  size_t same = 0;
  size_t others = 0;
  const auto checked = [&]() -> Convertible<void> {
    RUNNEL_TRY(const auto layers, unknown_layers(tools_, repository, image));
    const ConvertedLayers known(tools_.metadata, tools_.blobs);
    for (const auto& [layer, said] : layers) {
      if (!wait_for_rest(stop)) return {};
      RUNNEL_TRY(const auto found, known.find(layer, said.diff_id));
      if (found) continue;
      RUNNEL_TRY(const auto made, make(tools_, layer, said.diff_id, give_up));
      if (std::ranges::find(said.made, made) == said.made.end()) {
        ++others;
        continue;
      }
      RUNNEL_DO(known.remember(layer, said.diff_id, made));
      ++same;
    }
    return {};
  }();
  if (!checked && checked.error().given_up) return;
  if (!checked)
    log::warning("{}@{}: layers of an artifact that was pushed: {}: {}", repository, image,
                 checked.error().code, checked.error().message);
  else if (same + others > 0)
    log::info(
        "{}@{}: of the layers of an artifact that was pushed, {} are what is made here, {} not",
        repository, image, same, others);
}

}  // namespace runnel::registry
