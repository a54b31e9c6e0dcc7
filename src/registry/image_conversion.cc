#include "registry/image_conversion.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "artifact/layer_blob.h"
#include "base/log.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/boot_profiles.h"
#include "registry/new_manifest.h"

namespace runnel::registry {

namespace {

constexpr size_t kPiece = 1 << 20;
constexpr uint64_t kWriteBehind = 16 << 20;
// A link that is older than this is renewed, so that the collector leaves its blob alone.
constexpr Duration kRenewAfter = std::chrono::hours(1);
// The layers' part of the progress; the rest is for boot blobs and copying.
constexpr unsigned kLayersPercent = 90;
constexpr unsigned kPreparedPercent = 99;

// A file without a name: gone when it is closed, whatever happens.
Result<UniqueFd> unnamed_file(const std::string& directory) {
  return open_file(directory, O_TMPFILE | O_RDWR, 0600);
}

}  // namespace

// A layer's blob on its way from the worker to a file.
class ImageConversion::Output {
 public:
  explicit Output(int file) : file_(file) {}

  Result<void> append(Bytes bytes) {
    RUNNEL_DO(write_all_at(file_, bytes, size_));
    digester_.update(bytes);
    size_ += bytes.size();
    if (size_ - written_behind_ < kWriteBehind) return {};
    // Only a hint: so that the sync in the end, which is what counts, has little left to wait for.
    ::sync_file_range(file_, static_cast<off_t>(written_behind_),
                      static_cast<off_t>(size_ - written_behind_), SYNC_FILE_RANGE_WRITE);
    written_behind_ = size_;
    return {};
  }
  // Once, in the end.
  ConvertedLayer finish() { return {.blob = digester_.finish(), .size = size_}; }

 private:
  const int file_;
  oci::Digester digester_;
  uint64_t size_ = 0;
  uint64_t written_behind_ = 0;
};

struct ImageConversion::Layer {
  oci::Digest diff_id;
  ConvertedLayer made;
  codec::Sha256Value table_digest{};
  std::shared_ptr<const UniqueFd> file;  // the converted blob
  bool reused = false;
};

struct ImageConversion::Boot {
  convert::BootDone done;
};

struct ImageConversion::Staged {
  oci::Digest digest;
  meta::Upload upload;
  std::unique_ptr<Receiving> receiving;
};

ImageConversion::ImageConversion(const ConversionTools& tools, std::string repository,
                                 ConversionSource source, ConversionWatch watch, BootWish wish)
    : tools_(tools),
      repository_(std::move(repository)),
      source_(std::move(source)),
      watch_(std::move(watch)),
      wish_(std::move(wish)) {}

ImageConversion::~ImageConversion() {
  for (auto& staged : staged_) {
    if (staged.upload.id.empty()) continue;
    staged.receiving.reset();
    const auto gone = tools_.uploads.cancel(repository_, kConverter, staged.upload.id);
    if (!gone) log::warning("upload {}: {}", staged.upload.id, gone.error().message);
  }
}

convert::WorkerLimits ImageConversion::limits() const {
  return tools_.config.conversion.limits;
}

convert::WorkerWatch ImageConversion::worker_watch() {
  const auto report = [this](uint64_t done) {
    if (total_bytes_ == 0) return;
    const auto bytes = std::min(done_bytes_ + done, total_bytes_);
    watch_.progress(static_cast<unsigned>(bytes * kLayersPercent / total_bytes_));
  };
  return {.progress = report, .give_up = watch_.give_up};
}

Convertible<void> ImageConversion::go_on() {
  if (!watch_.give_up()) return {};
  return std::unexpected(ConversionFailure(Error(Code::kCancelled, "given up")));
}

Convertible<void> ImageConversion::prepare() {
  RUNNEL_DO(convert_layers());
  for (const auto& image : source_.images) RUNNEL_DO(make_boot(image));
  for (const auto& [source, layer] : layers_)
    if (!layer->reused)
      RUNNEL_DO(stage(layer->file->get(), layer->made.blob, layer->made.size, Trust::kFound));
  RUNNEL_TRY(const auto config, unnamed_file(tools_.config.work_directory()));
  RUNNEL_DO(write_all_at(config.get(), as_bytes(artifact::kConfigBlob), 0));
  RUNNEL_DO(stage(config.get(), oci::Digest::of(as_bytes(artifact::kConfigBlob)),
                  artifact::kConfigBlob.size(), Trust::kSaid));
  watch_.progress(kPreparedPercent);
  return {};
}

Convertible<void> ImageConversion::convert_layers() {
  RUNNEL_DO(read_artifacts());
  std::set<oci::Digest> sources;
  for (const auto& image : source_.images)
    for (const auto& layer : image.manifest.layers)
      if (sources.insert(layer.digest).second) total_bytes_ += layer.size;
  for (const auto& image : source_.images)
    for (size_t i = 0; i < image.manifest.layers.size(); ++i)
      RUNNEL_DO(make_layer(image.manifest.layers[i], image.config.diff_ids[i]));
  return {};
}

Convertible<void> ImageConversion::make_layer(const oci::Descriptor& descriptor,
                                              const oci::Digest& diff_id) {
  auto& layer = layers_[descriptor.digest];
  if (layer) {
    if (layer->diff_id == diff_id) return {};
    return std::unexpected(worker_failure(
        Error(Code::kInvalid, fmt::format("layer {} has the diff ID {} and {}: one is wrong",
                                          descriptor.digest, layer->diff_id, diff_id))));
  }
  layer = std::make_unique<Layer>();
  layer->diff_id = diff_id;
  RUNNEL_TRY(const bool reused, reuse(*layer, descriptor));
  if (!reused) RUNNEL_DO(convert(*layer, descriptor));
  done_bytes_ += descriptor.size;
  worker_watch().progress(0);
  ++(reused ? result_.reused_layers : result_.converted_layers);
  if (layer->made.size < artifact::kLayerFooterSize)
    return std::unexpected(ConversionFailure(
        Error(Code::kInvalid, fmt::format("layer blob {} is too short", layer->made.blob))));
  Buffer footer(artifact::kLayerFooterSize);
  RUNNEL_DO(read_exact_at(layer->file->get(), footer, layer->made.size - footer.size()));
  RUNNEL_TRY(const auto parts, artifact::parse_layer_footer(footer, layer->made.size));
  layer->table_digest = parts.table_digest;
  return {};
}

Convertible<bool> ImageConversion::reuse(Layer& layer, const oci::Descriptor& descriptor) {
  const ConvertedLayers known(tools_.metadata, tools_.blobs);
  RUNNEL_TRY(auto found, known.find(descriptor.digest, layer.diff_id));
  if (!found) found = of_artifacts(descriptor.digest, layer.diff_id);
  if (!found) return false;
  RUNNEL_TRY(auto content, tools_.blobs.open(found->blob));
  auto* file = content ? std::get_if<blob::FileContent>(&*content) : nullptr;
  if (file == nullptr) return false;
  layer.made = *std::move(found);
  layer.file = std::move(file->file);
  layer.reused = true;
  return true;
}

Result<void> ImageConversion::read_artifacts() {
  for (const auto& image : source_.images) {
    RUNNEL_TRY(const auto there,
               artifacts_of(tools_.metadata, repository_, image.descriptor.digest));
    for (const auto& [digest, artifact] : there) {
      // Of other bytes, or of somebody whose word would become ours.
      if (artifact.producer != artifact::producer() ||
          !artifact::verify(artifact, image.manifest.config.digest, tools_.key))
        continue;
      made_before_.insert(made_before_.end(), artifact.layers.begin(), artifact.layers.end());
    }
  }
  return {};
}

std::optional<ConvertedLayer> ImageConversion::of_artifacts(const oci::Digest& source,
                                                            const oci::Digest& diff_id) const {
  for (const auto& each : made_before_)
    if (each.source == source && each.diff_id == diff_id)
      return ConvertedLayer{.blob = each.blob, .size = each.blob_size};
  return std::nullopt;
}

Convertible<void> ImageConversion::convert(Layer& layer, const oci::Descriptor& descriptor) {
  RUNNEL_DO(go_on());
  RUNNEL_TRY(const auto content, tools_.blobs.open(descriptor.digest));
  const auto* source = content ? std::get_if<blob::FileContent>(&*content) : nullptr;
  if (source == nullptr)
    return std::unexpected(ConversionFailure(
        Error(Code::kUnavailable, fmt::format("layer {} is not there", descriptor.digest))));
  RUNNEL_TRY(auto unnamed, unnamed_file(tools_.config.work_directory()));
  layer.file = std::make_shared<const UniqueFd>(std::move(unnamed));
  Output output(layer.file->get());
  // What the disk does wrong is not the layer's fault.
  Result<void> written;
  const auto done = convert::convert_in_worker(
      tools_.program, limits(), tools_.config.conversion.threads,
      {.diff_id = layer.diff_id, .source_size = source->size}, source->file->get(),
      [&](Bytes bytes) { return written = output.append(bytes); }, worker_watch());
  RUNNEL_DO(written);
  if (!done)
    return std::unexpected(
        worker_failure(done.error().in(fmt::format("layer {}", descriptor.digest))));
  layer.made = output.finish();
  return {};
}

Convertible<void> ImageConversion::make_boot(const SourceImage& image) {
  RUNNEL_DO(go_on());
  convert::BootJob job;
  job.generation = wish_.generation;
  job.profile = wish_.profile;
  job.process = image.config.process;
  std::map<oci::Digest, uint32_t> places;
  std::vector<int> descriptors;
  for (const auto& source : image.manifest.layers) {
    const auto& layer = *layers_.at(source.digest);
    const auto [place, is_new] =
        places.emplace(source.digest, static_cast<uint32_t>(descriptors.size()));
    if (is_new) descriptors.push_back(layer.file->get());
    job.layers.push_back(
        {.blob = layer.made.blob, .size = layer.made.size, .descriptor = place->second});
  }
  std::vector<std::shared_ptr<const UniqueFd>> earlier;
  const auto places_before = static_cast<uint32_t>(descriptors.size());
  RUNNEL_DO(add_earlier(job, image, earlier));
  for (auto& layer : job.earlier_layers) layer.descriptor += places_before;
  for (const auto& file : earlier) descriptors.push_back(file->get());
  RUNNEL_TRY(const auto file, unnamed_file(tools_.config.work_directory()));
  const auto done = convert::build_boot_in_worker(tools_.program, limits(), job, descriptors,
                                                  file.get(), {.give_up = watch_.give_up});
  if (!done) return std::unexpected(worker_failure(done.error().in("merging the layers")));
  boots_.push_back({*done});
  return stage(file.get(), done->boot, done->size, Trust::kSaid);
}

Result<void> ImageConversion::add_earlier(convert::BootJob& job, const SourceImage& image,
                                          std::vector<std::shared_ptr<const UniqueFd>>& files) {
  if (!wish_.profile.empty()) return {};
  RUNNEL_TRY(const auto found, earlier_starts(tools_.metadata, repository_, image.descriptor.digest,
                                              image.manifest, convert::platform_of(image.config)));
  if (!found) return add_shared(job);
  std::vector<convert::BootLayer> layers;
  for (const auto& layer : found->layers) {
    RUNNEL_TRY(auto file, own_blob(layer.blob));
    if (!file) {
      files.clear();
      return {};
    }
    layers.push_back({.blob = layer.blob,
                      .size = layer.blob_size,
                      .descriptor = static_cast<uint32_t>(files.size())});
    files.push_back(std::move(file));
  }
  job.earlier_layers = std::move(layers);
  job.earlier_profile = artifact::to_json(found->profile);
  return {};
}

// An artifact that somebody pushed may name any blob.
Result<std::shared_ptr<const UniqueFd>> ImageConversion::own_blob(const oci::Digest& digest) {
  RUNNEL_TRY(const auto linked, tools_.metadata.blob_size(repository_, digest));
  if (!linked) return nullptr;
  RUNNEL_TRY(auto content, tools_.blobs.open(digest));
  auto* file = content ? std::get_if<blob::FileContent>(&*content) : nullptr;
  if (file == nullptr) return nullptr;
  return std::move(file->file);
}

Result<void> ImageConversion::add_shared(convert::BootJob& job) {
  if (!tools_.config.conversion.shared_profiles) return {};
  std::set<oci::Digest> blobs;
  for (const auto& layer : job.layers) blobs.insert(layer.blob);
  RUNNEL_TRY(const auto found, shared_starts(tools_.metadata, blobs));
  if (found) job.shared_profile = artifact::to_json(*found);
  return {};
}

Convertible<void> ImageConversion::stage(int file, const oci::Digest& digest, uint64_t size,
                                         Trust trust) {
  const auto is_same = [&](const Staged& staged) { return staged.digest == digest; };
  if (std::ranges::any_of(staged_, is_same)) return {};
  // The repository may have it from an earlier conversion.
  RUNNEL_TRY(const auto known, tools_.metadata.lease_blob(repository_, digest, kRenewAfter));
  RUNNEL_TRY(const auto stored, tools_.blobs.size(digest));
  if (known && stored == size) return {};
  auto& staged = staged_.emplace_back();
  staged.digest = digest;
  RUNNEL_TRY(staged.upload, tools_.uploads.start(repository_, kConverter));
  if (trust == Trust::kFound) {
    RUNNEL_DO(go_on());
    RUNNEL_TRY(staged.receiving, tools_.uploads.adopt(staged.upload, file, size, digest));
    if (staged.receiving) return {};
  }
  RUNNEL_TRY(staged.receiving, tools_.uploads.receive(repository_, kConverter, staged.upload.id,
                                                      oci::Algorithm::kSha256));
  Buffer piece(std::min<uint64_t>(kPiece, size));
  for (uint64_t at = 0; at < size;) {
    RUNNEL_DO(go_on());
    const auto part = MutableBytes(piece).first(std::min<uint64_t>(piece.size(), size - at));
    RUNNEL_DO(read_exact_at(file, part, at));
    RUNNEL_DO(staged.receiving->append(part));
    at += part.size();
  }
  RUNNEL_DO(staged.receiving->keep());
  return {};
}

// A layer that was converted for another image may be in other repositories only. This one gets its
// blob for having the layer that it was made of, and for nothing else: the blob has the same files.
Convertible<void> ImageConversion::link(const oci::Digest& source, const oci::Digest& blob) {
  RUNNEL_TRY(const auto known, tools_.metadata.lease_blob(repository_, blob, kRenewAfter));
  if (known) return {};
  RUNNEL_TRY(const auto has_source, tools_.metadata.blob_size(repository_, source));
  if (!has_source) return std::unexpected(resource_not_found());
  RUNNEL_TRY(const auto others, tools_.metadata.repositories_with_blob(blob, 16));
  for (const auto& other : others) {
    RUNNEL_TRY(const bool linked, tools_.metadata.mount_blob(other, repository_, blob));
    if (linked) return {};
  }
  return std::unexpected(ConversionFailure(
      Error(Code::kUnavailable, fmt::format("converted layer {} was collected meanwhile", blob))));
}

Convertible<ConversionResult> ImageConversion::publish() {
  for (auto& staged : staged_) {
    // Nobody can cancel it any more; to ask renews the claim.
    std::ignore = watch_.give_up();
    RUNNEL_DO(staged.receiving->finish(staged.digest));
    staged.receiving.reset();
    staged.upload.id.clear();
  }
  for (const auto& [source, layer] : layers_)
    if (layer->reused) RUNNEL_DO(link(source, layer->made.blob));
  for (size_t i = 0; i < source_.images.size(); ++i) {
    const auto& image = source_.images[i];
    std::vector<convert::MadeLayer> made;
    for (const auto& source : image.manifest.layers) {
      const auto& layer = *layers_.at(source.digest);
      made.push_back(
          {.blob = layer.made.blob, .size = layer.made.size, .table_digest = layer.table_digest});
    }
    const auto& boot = boots_[i].done;
    auto artifact = convert::describe_artifact(image.manifest, image.config, made,
                                               {.digest = boot.boot,
                                                .size = boot.size,
                                                .head = boot.head,
                                                .head_size = boot.head_size,
                                                .generation = wish_.generation,
                                                .hot = boot.hot},
                                               std::string(artifact::kAzureArtifactType));
    RUNNEL_TRY(result_.artifacts.emplace_back(), put_artifact(artifact, image, image.descriptor));
    for (const auto& index : source_.indexes) {
      RUNNEL_TRY(result_.artifacts.emplace_back(), put_artifact(artifact, image, index));
      RUNNEL_DO(note_index(tools_.metadata, repository_, image.descriptor.digest, index.digest));
    }
  }
  const ConvertedLayers known(tools_.metadata, tools_.blobs);
  for (const auto& [source, layer] : layers_)
    RUNNEL_DO(known.remember(source, layer->diff_id, layer->made));
  return std::move(result_);
}

Convertible<oci::Digest> ImageConversion::put_artifact(artifact::Artifact artifact,
                                                       const SourceImage& image,
                                                       const oci::Descriptor& subject) {
  // It may have been deleted meanwhile.
  RUNNEL_TRY(const auto there, tools_.metadata.manifest_info(repository_, subject.digest));
  if (!there) return std::unexpected(resource_not_found());
  artifact.subject = subject;
  RUNNEL_DO(artifact::sign(artifact, image.manifest.config.digest, tools_.key));
  const auto text = oci::to_json(artifact::to_manifest(artifact));
  RUNNEL_TRY(auto manifest,
             new_manifest(as_bytes(text), oci::kOciManifest, oci::Algorithm::kSha256));
  RUNNEL_TRY(const auto soft_delete,
             soft_delete_policy(tools_.metadata, tools_.config.soft_delete_policy()));
  manifest.undo = soft_delete.undo();
  RUNNEL_TRY(const auto outcome, tools_.metadata.put_manifest(repository_, manifest));
  if (!outcome.missing.empty())
    return std::unexpected(ConversionFailure(
        Error(Code::kUnavailable,
              fmt::format("{} blobs of the artifact went away", outcome.missing.size()))));
  return manifest.digest;
}

}  // namespace runnel::registry
