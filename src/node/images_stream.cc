// Images: from an image's artifact to its mount.
#include <algorithm>

#include "base/log.h"
#include "base/side_thread.h"
#include "cache/fault.h"
#include "node/images.h"
#include "oci/image_config.h"

namespace runnel::node {

namespace {

using Kind = timeline::Span::Kind;

std::vector<uint64_t> sizes_of(const std::vector<oci::Descriptor>& layers) {
  std::vector<uint64_t> sizes;
  sizes.reserve(layers.size());
  for (const auto& layer : layers) sizes.push_back(layer.size);
  return sizes;
}

}  // namespace

Images::BootBlob Images::boot_blob(const oci::Digest& digest, uint64_t size, uint64_t head_size) {
  BootBlob blob{.descriptor = {}, .head_size = head_size};
  blob.descriptor.digest = digest;
  blob.descriptor.size = size;
  return blob;
}

// Everything between seeing a manifest and being able to promise its layers.
Result<Images::Mounted> Images::stream(Image& image, const std::vector<oci::Digest>& diff_ids,
                                       Artifacts artifacts, Reason& if_denied) {
  RUNNEL_TRY(const auto found, artifacts.get());
  std::optional<Error> refused;
  for (const auto& candidate : found) {
    auto usable = [&]() -> Result<Mounted> {
      RUNNEL_DO(
          convert::check_belongs(candidate.artifact, image.subject, image.manifest, diff_ids));
      if_denied = Reason::kArtifactNotTrusted;
      RUNNEL_DO(options_.trust.check(image.host, candidate.artifact, image.manifest.config.digest));
      if_denied = Reason::kCredentialsMissing;
      RUNNEL_DO(check_agrees(candidate.artifact));
      return stream_with(image, candidate, diff_ids);
    }();
    if (usable) return usable;
    refused = usable.error().in(fmt::format("artifact with boot blob {}", candidate.artifact.boot));
  }
  return std::unexpected(*std::move(refused));
}

std::shared_ptr<BootDownload> Images::begin_boot(const WantedImage& image, const BootBlob& blob,
                                                 bool known, std::optional<Duration> patience) {
  const uint64_t first_part = known ? blob.head_size + BootDownload::kBehindHeadOfKnown : 0;
  return std::make_shared<BootDownload>(
      fmt::format("{}/{}@{}", image.host, image.repository, image.manifest),
      [this, descriptor = blob.descriptor, first_part,
       repository = registries_.repository(image.host, image.repository)](
          const remote::Repository::Consume& consume) {
        const auto hold = registries_.hold_background();
        return repository.blob_in_parts(descriptor, consume, first_part);
      },
      known ? BootDownload::kMostWaitingOfKnown : BootDownload::kMostWaiting, patience);
}

std::shared_ptr<BootDownload> Images::begin_early(const WantedImage& image,
                                                  const artifact::BootHint& hint, bool known) {
  return begin_boot(image, boot_blob(hint.blob, hint.size, hint.head), known,
                    EarlyBoots::kPatience);
}

// Not from a registry whose word is not enough: what its artifacts are worth is known too late.
void Images::begin_boot_early(const WantedImage& image, const artifact::BootHint& hint) {
  if (!options_.trust.has_registry(image.host)) return;
  const bool here = engine_.layer(hint.base) != nullptr;
  const auto coming = [&] {
    const std::lock_guard lock(mutex_);
    return coming_.contains(hint.base);
  };
  early_boots_.begin(image, hint, here || coming());
}

// With every image that streams, also while its layers are not open.
Result<void> Images::check_agrees(const artifact::Artifact& artifact) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [subject, other] : images_) {
    if (other->streamed) RUNNEL_DO(convert::check_agrees(artifact, other->streamed->artifact));
  }
  return {};
}

// Mounts as soon as head and tables are here; the hot pack comes in behind.
Result<Images::Mounted> Images::stream_with(const Image& image, const convert::FoundArtifact& found,
                                            const std::vector<oci::Digest>& diff_ids) {
  const auto& artifact = found.artifact;
  const auto step = [&](const char* what) {
    return StartLog::Step(options_.log, image.place(), Kind::kStep, what);
  };
  const auto wanted = image.wanted();
  auto download = early_boots_.take(wanted, artifact.boot, artifact.boot_size);
  const bool is_early = download != nullptr;
  const Coming coming(*this, artifact);
  const auto begin = [&] {
    return begin_boot(wanted, boot_blob(artifact.boot, artifact.boot_size, artifact.head_size),
                      coming.known());
  };
  if (!is_early) download = begin();
  const auto deadline = clock_.now() + options_.offer_timeout;  // nobody waits for longer
  auto front = download->take(artifact.head_size, deadline);
  // It may have been without a credential that has been shown since.
  if (!front && is_early && clock_.now() < deadline) {
    give_up(std::exchange(download, begin()));
    front = download->take(artifact.head_size, deadline);
  }
  RUNNEL_TRY(const Buffer head_bytes, std::move(front));
  artifact::BootHead head;
  {
    const auto verifying = step("verify the boot blob's head");
    RUNNEL_TRY(head, artifact::open_head(artifact, head_bytes));
  }
  RUNNEL_TRY(const Buffer tables, download->take(head.tables_size(), deadline));

  StreamedImage streamed{{.host = image.host,
                          .repository = image.repository,
                          .subject = image.subject,
                          .chain_ids = oci::chain_ids(diff_ids),
                          .layer_sizes = sizes_of(image.manifest.layers)},
                         artifact,
                         {},
                         {}};
  {
    const auto verifying = step("verify the boot blob's tables");
    RUNNEL_TRY(streamed.boot, artifact::open_tables(artifact, std::move(head), tables, nullptr));
  }
  {
    const auto writing = step("unpack the metadata");
    RUNNEL_DO(store_.write(streamed, found.manifest, head_bytes, tables));
  }
  const auto written = std::make_shared<const StreamedImage>(std::move(streamed));
  // The disk takes its time while the rest is done; nothing is promised before it has answered.
  auto keeping = std::async(kThreadIfThereIsOne, [&] {
    const auto waiting = step("keep the image on disk");
    return store_.keep(*written);
  });
  auto mounted = mount_written(written, *download);
  auto kept = keeping.get();
  if (mounted && kept) return Mounted{.image = written, .boot_download = std::move(download)};
  download.reset();  // it hands chunks to the layers that may go now
  if (!is_promised(*written)) drop(*written);
  return std::unexpected(mounted ? kept.error() : mounted.error());
}

// By an earlier process, whose mounts containers may use although this one could not load the
// image: all of it, or some of its layers on their own. That a snapshot of one of its layers is
// there says nothing, for other images may have that layer, too.
bool Images::is_promised(const StreamedImage& image) const {
  const std::lock_guard lock(mutex_);
  for (size_t layers = 1; layers <= image.chain_ids.size(); ++layers) {
    if (!held_.contains(image.chain_ids[layers - 1].to_string())) continue;
    if (layers == image.chain_ids.size()) return true;
    if (engine_.has_mounted(mount_name(image, layers))) return true;
  }
  return false;
}

Result<void> Images::mount_written(const std::shared_ptr<const StreamedImage>& image,
                                   BootDownload& download) {
  const auto step = [&](const char* what) {
    return StartLog::Step(options_.log, image->place(), Kind::kStep, what);
  };
  {
    const auto opening = step("open layers");
    RUNNEL_TRY(const auto layers, attach(*image));
    RUNNEL_DO(download.unpack(image->boot, layers));
  }
  const auto mounting = step("mount");
  if (const int injected = cache::fault("mount-image"))
    return std::unexpected(system_error(injected, "mount " + image->name() + " (injected)"));
  const size_t all = image->chain_ids.size();
  RUNNEL_DO(engine_.mount(mount_name(*image, all), image->metadata_path(),
                          device_digests(image->boot, all)));
  return {};
}

Images::Coming::Coming(Images& images, const artifact::Artifact& artifact)
    : images_(images), artifact_(artifact) {
  {
    const std::lock_guard lock(images_.mutex_);
    known_ = std::ranges::any_of(
        artifact.layers, [&](const auto& layer) { return images_.coming_.contains(layer.blob); });
    for (const auto& layer : artifact.layers) images_.coming_.insert(layer.blob);
  }
  // After that: what is not coming any more has come.
  known_ |= std::ranges::any_of(artifact.layers, [&](const auto& layer) {
    return images_.early_boots_.may_bring(layer.blob) ||
           images_.engine_.layer(layer.blob) != nullptr;
  });
}

Images::Coming::~Coming() {
  const std::lock_guard lock(images_.mutex_);
  for (const auto& layer : artifact_.layers)
    images_.coming_.erase(images_.coming_.find(layer.blob));
}

// Hands the image's layers to the engine.
Result<Images::Layers> Images::attach(const StreamedImage& image) {
  Layers layers;
  for (const size_t i : artifact::records_with_tables(image.boot.head.layers)) {
    RUNNEL_TRY(layers.emplace_back(), attach_layer(image, i));
  }
  return layers;
}

// Each of its layers that is among those, whatever becomes of the others.
std::optional<Images::Lacking> Images::attach_each(const StreamedImage& image,
                                                   const std::set<oci::Digest>& layers) {
  std::optional<Lacking> lacking;
  for (const size_t i : artifact::records_with_tables(image.boot.head.layers)) {
    auto digest = oci::Digest::from_sha256(image.boot.head.layers[i].blob_digest);
    if (!layers.contains(digest)) continue;
    const auto layer = attach_layer(image, i);
    if (layer) continue;
    if (!lacking) lacking = Lacking{.error = layer.error(), .layers = {}};
    lacking->layers.insert(std::move(digest));
  }
  return lacking;
}

Result<std::shared_ptr<cache::Layer>> Images::attach_layer(const StreamedImage& image,
                                                           size_t index) {
  const auto& record = image.boot.head.layers[index];
  const auto digest = oci::Digest::from_sha256(record.blob_digest);
  std::optional<cache::Original> original;
  if (!image.layer_sizes.empty()) original = original_of(image, index);
  return engine_.add_layer(
      digest, image.boot.tables[record.slot - 1],
      registries_.source(image.host, image.repository, digest, record.blob_size), original);
}

// Where the layer that the artifact's was made from can be had.
cache::Original Images::original_of(const StreamedImage& image, size_t layer) const {
  const auto& from = image.artifact.layers[layer];
  return {.name = image.host + "/" + image.repository,
          .digest = from.source,
          .diff_id = from.diff_id,
          .source = registries_.source(image.host, image.repository, from.source,
                                       image.layer_sizes[layer])};
}

}  // namespace runnel::node
