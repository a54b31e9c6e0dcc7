#include "convert/convert.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <thread>

#include "base/fd.h"
#include "base/worker_pool.h"
#include "convert/boot_builder.h"
#include "convert/find_artifact.h"
#include "convert/image_artifact.h"
#include "convert/image_kind.h"
#include "convert/layer_converter.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/media_types.h"

namespace runnel::convert {

namespace {

using artifact::Artifact;

constexpr size_t kMaxPingBytes = 64 * 1024;

// The manifest and configuration of one image, checked against each other.
struct Source {
  oci::Descriptor descriptor;  // of the manifest
  oci::Manifest manifest;
  oci::ImageConfig config;
};

// A temporary file without a name: gone when it is closed, whatever happens.
Result<UniqueFd> unnamed_file(const std::string& directory) {
  return open_file(directory, O_TMPFILE | O_RDWR, 0600);
}

Result<oci::Manifest> read_manifest(const remote::RemoteManifest& stored) {
  return oci::parse_manifest(stored.bytes, stored.media_type);
}

Result<Buffer> read_config(remote::Repository& repository, const oci::Manifest& manifest) {
  return repository.blob_bytes(manifest.config.digest, oci::kMaxConfigBytes);
}

// kUnsupported and kInvalid unless they are those of a Linux image.
Result<Source> source_of(const oci::Descriptor& descriptor, oci::Manifest manifest, Bytes config) {
  Source source{.descriptor = descriptor, .manifest = std::move(manifest), .config = {}};
  RUNNEL_TRY(source.config, oci::parse_image_config(config));
  if (source.config.os != "linux") {
    return fail(Code::kUnsupported, "{} is an image for {}: only Linux images are converted",
                descriptor.digest, source.config.os);
  }
  if (source.config.diff_ids.size() != source.manifest.layers.size()) {
    return fail(Code::kInvalid, "{} has {} layers, its configuration names {}", descriptor.digest,
                source.manifest.layers.size(), source.config.diff_ids.size());
  }
  if (source.config.diff_ids.size() > artifact::kMaxLayers) {
    return fail(Code::kExhausted, "{} has {} layers, at most {} can be streamed", descriptor.digest,
                source.config.diff_ids.size(), artifact::kMaxLayers);
  }
  return source;
}

// One layer's blob and tree.
struct ConvertedLayer {
  LayerFile file;
  artifact::LayerTree tree;
  oci::Digest diff_id;
  size_t uses = 1;                 // of the image's layers
  std::future<Result<bool>> push;  // whether bytes were sent
};

// The places of an image's layers, the largest first: its blob is on its way while the others are
// converted and merged, and no processor is left alone with the last of it.
std::vector<size_t> largest_first(const std::vector<oci::Descriptor>& layers) {
  std::vector<size_t> order(layers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    return layers[a].size != layers[b].size ? layers[a].size > layers[b].size : a < b;
  });
  return order;
}

// For a layer that the image has twice: one blob has one diff ID.
Result<void> check_same_diff_id(const oci::Digest& first, const oci::Digest& again) {
  if (first == again) return {};
  return fail(Code::kInvalid,
              "the image has it twice, with the diff ID {} and {}: one of them is wrong", first,
              again);
}

// Converts an image's layers, makes its artifact and pushes both. A layer's blob is pushed behind
// the conversion of the others: until a manifest names it nobody sees it.
class ImageConversion {
 public:
  ImageConversion(remote::Repository& repository, const Source& source, const Options& options)
      : repository_(repository),
        source_(source),
        options_(options),
        pool_(options.threads, WorkerPool::Work::kBulk) {}
  // Waits for the blobs that are being pushed, if any.
  ~ImageConversion() { given_up_ = true; }
  ImageConversion(const ImageConversion&) = delete;
  ImageConversion& operator=(const ImageConversion&) = delete;

  // With `index`, a second manifest whose subject is the index goes beside the first.
  Result<Converted> run(const std::optional<oci::Descriptor>& index) {
    for (const size_t i : largest_first(source_.manifest.layers)) {
      const auto& layer = source_.manifest.layers[i];
      if (auto done = convert_layer(i); !done) {
        return std::unexpected(done.error().in(fmt::format("layer {} ({})", i + 1, layer.digest)));
      }
      result_.source_bytes += layer.size;
    }
    RUNNEL_TRY(auto artifact, make_artifact());
    RUNNEL_DO(push_blobs());
    RUNNEL_TRY(result_.artifact, push_manifest(artifact, source_.descriptor));
    if (index) RUNNEL_DO(push_manifest(artifact, *index));
    result_.subject = source_.descriptor.digest;
    result_.platform = oci::to_string(platform_of(source_.config));
    return result_;
  }

 private:
  Result<void> convert_layer(size_t i) {
    const auto& descriptor = source_.manifest.layers[i];
    if (const auto known = layers_.find(descriptor.digest); known != layers_.end()) {
      ++known->second.uses;
      return check_same_diff_id(known->second.diff_id, source_.config.diff_ids[i]);
    }
    RUNNEL_TRY(auto opened, unnamed_file(options_.work_directory));
    const auto file = std::make_shared<const UniqueFd>(std::move(opened));
    LayerConverter converter(file->get(), pool_, source_.config.diff_ids[i]);
    Progress progress{.step = fmt::format("layer {}/{}", i + 1, source_.manifest.layers.size()),
                      .total = descriptor.size};
    RUNNEL_DO(repository_.blob(descriptor, [&](Bytes bytes) {
      progress.done += bytes.size();
      options_.progress(progress);
      return converter.feed(bytes);
    }));
    RUNNEL_TRY(auto converted, converter.finish());
    layers_[descriptor.digest] = ConvertedLayer{.file = {.file = file, .blob = converted.blob},
                                                .tree = std::move(converted.tree),
                                                .diff_id = source_.config.diff_ids[i],
                                                .push = begin_push(file, converted.blob)};
    return {};
  }

  std::future<Result<bool>> begin_push(const std::shared_ptr<const UniqueFd>& file,
                                       const artifact::LayerBlobWriter::Written& blob) {
    const auto push = std::make_shared<std::packaged_task<Result<bool>()>>(
        [this, file, size = blob.size, digest = oci::Digest::from_sha256(blob.digest)] {
          if (given_up_) return Result<bool>(false);
          return repository_.push_blob(digest, net::FileRange(file, 0, size));
        });
    pushes_.submit([push] { (*push)(); });
    return push->get_future();
  }

  Result<Artifact> make_artifact() {
    options_.progress({.step = "merging layers"});
    // What chunks in flight took is free now and not given back, and merging takes the most.
    ::malloc_trim(0);
    RUNNEL_DO(check_names());
    std::vector<const LayerFile*> files;
    std::vector<artifact::LayerTree> trees;
    std::vector<MadeLayer> made;
    for (const auto& source : source_.manifest.layers) {
      auto& layer = layers_.at(source.digest);
      const auto& blob = layer.file.blob;
      files.push_back(&layer.file);
      // Not copied, because it may be large, unless the image has the layer once more.
      trees.push_back(--layer.uses == 0 ? std::move(layer.tree) : layer.tree);
      made.push_back({.blob = oci::Digest::from_sha256(blob.digest),
                      .size = blob.size,
                      .table_digest = blob.parts.table_digest});
    }
    RUNNEL_TRY(const auto generation, build_boot(files, std::move(trees)));
    boot_digest_ = oci::Digest::of(boot_.bytes);
    return describe_artifact(source_.manifest, source_.config, made,
                             {.digest = boot_digest_,
                              .size = boot_.bytes.size(),
                              .head = oci::Digest::of(Bytes(boot_.bytes).first(boot_.head_size)),
                              .head_size = boot_.head_size,
                              .generation = generation,
                              .hot = std::string(boot_.hot)},
                             options_.artifact_type);
  }

  // Sets boot_ and returns its generation. Without a profile that is always the first one: equal
  // images give equal artifacts, and a plain conversion must not push a profile's result aside.
  Result<uint64_t> build_boot(const std::vector<const LayerFile*>& files,
                              std::vector<artifact::LayerTree> trees) {
    BootPlan plan{.generation = 1,
                  .files = options_.hot_files,
                  .profile = options_.profile.value_or(artifact::Profile()),
                  .process = source_.config.process};
    if (!options_.profile) {
      RUNNEL_TRY(boot_, build_boot_blob(files, std::move(trees), plan));
      return 1;
    }
    const auto build = [&](uint64_t generation) {
      plan.generation = generation;
      return build_boot_blob(files, trees, plan);
    };
    const auto found = find_artifacts(repository_, source_.descriptor.digest);
    if (!found && found.error().code != Code::kNotFound) return std::unexpected(found.error());
    const uint64_t newest = found ? found->front().artifact.generation : 1;
    RUNNEL_TRY(boot_, build(newest));
    if (!found || oci::Digest::of(boot_.bytes) == found->front().artifact.boot) return newest;
    RUNNEL_TRY(boot_, build(newest + 1));
    return newest + 1;
  }

  // A layer that the image has many times counts as often: merging holds all trees at once.
  Result<void> check_names() const {
    uint64_t names = 0;
    for (const auto& layer : source_.manifest.layers) {
      names += layers_.at(layer.digest).tree.inodes.size();
    }
    const uint64_t limit = artifact::TreeLimits{}.max_inodes;
    if (names <= limit) return {};
    return fail(Code::kExhausted, "its layers have {} files, at most {} can be merged", names,
                limit);
  }

  Result<void> push_blobs() {
    const auto config = as_bytes(artifact::kConfigBlob);
    RUNNEL_DO(push_bytes(oci::Digest::of(config), config));
    // While the registry still takes the last layers and waits for its disk.
    options_.progress({.step = "pushing the boot blob"});
    RUNNEL_DO(push_bytes(boot_digest_, boot_.bytes));
    size_t pushed = 0;
    for (auto& [source, layer] : layers_) {
      options_.progress({.step = fmt::format("pushing layer {}/{}", ++pushed, layers_.size())});
      RUNNEL_TRY(const bool sent, layer.push.get());
      count(layer.file.blob.size, sent);
    }
    return {};
  }

  Result<void> push_bytes(const oci::Digest& digest, Bytes bytes) {
    RUNNEL_TRY(const bool sent, repository_.push_blob(digest, bytes));
    count(bytes.size(), sent);
    return {};
  }

  void count(uint64_t size, bool sent) {
    result_.artifact_bytes += size;
    if (sent) result_.pushed_bytes += size;
  }

  Result<oci::Digest> push_manifest(Artifact artifact, const oci::Descriptor& subject) {
    artifact.subject = subject;
    if (options_.key) {
      RUNNEL_DO(artifact::sign(artifact, source_.manifest.config.digest, *options_.key));
    }
    const auto manifest = artifact::to_manifest(artifact);
    const auto digest = oci::Digest::of(as_bytes(oci::to_json(manifest)));
    const bool known = repository_.resolve(digest.to_string()).has_value();
    RUNNEL_TRY(const auto pushed, repository_.push_referrer(manifest));
    result_.changed = result_.changed || !known;
    return pushed.digest;
  }

  remote::Repository& repository_;
  const Source& source_;
  const Options& options_;
  WorkerPool pool_;
  std::map<oci::Digest, ConvertedLayer> layers_;  // by source digest
  BootBlob boot_;
  oci::Digest boot_digest_;
  Converted result_;
  std::atomic<bool> given_up_ = false;
  // Two, so that one is sent while the registry brings another to its disk. Last: their tasks use
  // the above.
  WorkerPool pushes_{2};
};

bool wanted(const oci::Descriptor& child) {
  if (!oci::is_manifest_type(child.media_type)) return false;
  return !child.platform || child.platform->os == "linux";
}

Result<Converted> convert_single(remote::Repository& repository,
                                 const remote::RemoteManifest& stored, const Options& options) {
  RUNNEL_TRY(auto manifest, read_manifest(stored));
  if (!calls_itself_image(manifest)) {
    return fail(Code::kUnsupported, "{} is not a container image: it is of type {}", stored.digest,
                manifest.effective_artifact_type());
  }
  RUNNEL_TRY(const auto config, read_config(repository, manifest));
  RUNNEL_TRY(const auto source, source_of(stored.descriptor(), std::move(manifest), config));
  return ImageConversion(repository, source, options).run(std::nullopt);
}

// Nothing for an entry that is no Linux image. Where the index does not name its platform, its
// manifest and configuration tell; where it does, they must be those of one.
Result<std::optional<Converted>> convert_child(remote::Repository& repository,
                                               const oci::Descriptor& child,
                                               const oci::Descriptor& index,
                                               const Options& options) {
  RUNNEL_TRY(const auto stored, repository.manifest(child.digest.to_string()));
  RUNNEL_TRY(auto manifest, read_manifest(stored));
  if (!(child.platform ? calls_itself_image(manifest) : is_image(manifest))) return std::nullopt;
  RUNNEL_TRY(const auto config, read_config(repository, manifest));
  const auto source = source_of(stored.descriptor(), std::move(manifest), config);
  if (!source && !child.platform && source.error().code != Code::kExhausted) return std::nullopt;
  if (!source) return std::unexpected(source.error());
  return ImageConversion(repository, *source, options).run(index);
}

// GET /v2/, tried again while that may help. A refusal (401) is an answer too.
Result<net::ResponseHead> ping(remote::Gateway& gateway, const std::string& host) {
  const auto& limits = gateway.options;
  for (int done = 1;; ++done) {
    const auto endpoint = gateway.hosts.endpoint(host);
    net::ClientRequest request(endpoint.url + "/v2/");
    request.tls = endpoint.tls;
    request.origin_headers = endpoint.headers;
    request.connect_timeout = limits.connect_timeout;
    request.stall_timeout = limits.stall_timeout;
    request.total_timeout = limits.small_timeout;
    auto answer = gateway.client.fetch(std::move(request), kMaxPingBytes);
    if (answer && !remote::is_retryable_status(answer->head.status)) return answer->head;
    if (!answer && answer.error().code != Code::kUnavailable) {
      return std::unexpected(answer.error());
    }
    if (done >= limits.retry.attempts) {
      if (!answer) return std::unexpected(answer.error());
      return fail(Code::kUnavailable, "{}: GET /v2/ answered {}, {} times", host,
                  answer->head.status, done);
    }
    std::this_thread::sleep_for(limits.retry.delay(done, gateway.random()));
  }
}

// Whether our own registry would take an artifact. It looks at the right to push one first, and
// then refuses a manifest that is not the one of its digest, so this one is never there.
Result<void> ask_for_artifact(const remote::Repository& repository, const std::string& type) {
  oci::Manifest manifest;
  manifest.media_type = oci::kOciManifest;
  manifest.artifact_type = type;
  manifest.config.media_type = oci::kOciEmpty;
  manifest.config.digest = oci::Digest::of(as_bytes(artifact::kConfigBlob));
  manifest.config.size = artifact::kConfigBlob.size();
  const auto another = oci::Digest::of({});
  auto pushed = repository.push_manifest(another.to_string(), manifest.media_type,
                                         as_bytes(oci::to_json(manifest)));
  if (!pushed) return std::unexpected(std::move(pushed).error());
  return {};
}

}  // namespace

Result<void> check_rights(const remote::Repository& repository, const std::string& artifact_type) {
  auto may = repository.check_push();
  if (may && artifact_type == artifact::kAzureArtifactType)
    may = ask_for_artifact(repository, artifact_type);
  if (may) return may;
  const auto code = may.error().code;
  return code == Code::kDenied || code == Code::kUnavailable ? may : Result<void>();
}

Result<std::string> artifact_type_for(remote::Gateway& gateway, const std::string& host) {
  RUNNEL_TRY(const auto head, ping(gateway, host));
  const auto server = head.headers.first("Server").value_or("");
  return std::string(server.starts_with("runnel/") ? artifact::kAzureArtifactType
                                                   : artifact::kArtifactType);
}

Result<std::vector<Converted>> convert_image(remote::Repository& repository,
                                             const std::string& target, const Options& options) {
  RUNNEL_TRY(const auto named, repository.manifest(target));
  RUNNEL_TRY(const auto document, oci::parse_document(named.bytes, named.media_type));
  std::vector<Converted> results;
  if (std::holds_alternative<oci::Manifest>(document)) {
    RUNNEL_TRY(results.emplace_back(), convert_single(repository, named, options));
    return results;
  }
  for (const auto& child : std::get<oci::Index>(document).manifests) {
    if (!wanted(child)) continue;
    auto converted = convert_child(repository, child, named.descriptor(), options);
    if (!converted) {
      return std::unexpected(converted.error().in(child.platform ? oci::to_string(*child.platform)
                                                                 : child.digest.to_string()));
    }
    if (*converted) results.push_back(**std::move(converted));
  }
  if (results.empty()) {
    return fail(Code::kUnsupported, "{} names no Linux image", named.digest);
  }
  return results;
}

}  // namespace runnel::convert
