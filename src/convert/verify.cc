#include "convert/verify.h"

#include <map>

#include "artifact/merge.h"
#include "artifact/open_boot.h"
#include "codec/zstd.h"
#include "convert/find_artifact.h"
#include "convert/tree_difference.h"
#include "convert/verify_layer.h"
#include "erofs/erofs.h"
#include "oci/document.h"
#include "oci/image_config.h"
#include "oci/media_types.h"

namespace runnel::convert {

namespace {

using artifact::Artifact;
using artifact::Boot;

// A platform's image.
struct Image {
  oci::Digest digest;
  oci::Manifest manifest;
  oci::ImageConfig config;
};

Result<Image> read_image(const remote::Repository& repository,
                         const remote::RemoteManifest& stored) {
  Image image;
  image.digest = stored.digest;
  RUNNEL_TRY(image.manifest, oci::parse_manifest(stored.bytes, stored.media_type));
  if (!oci::is_image_config_type(image.manifest.config.media_type))
    return fail(Code::kUnsupported, "{} is not a container image", stored.digest);
  RUNNEL_TRY(const Buffer config,
             repository.blob_bytes(image.manifest.config.digest, oci::kMaxConfigBytes));
  RUNNEL_TRY(image.config, oci::parse_image_config(config));
  return image;
}

class ArtifactVerification {
 public:
  ArtifactVerification(const remote::Repository& repository, const Image& image,
                       const FoundArtifact& found, const VerifyOptions& options)
      : repository_(repository),
        image_(image),
        artifact_(found.artifact),
        options_(options),
        pool_(options.threads) {
    result_.subject = image.digest;
    result_.platform = oci::to_string(artifact_.platform);
    result_.artifact = oci::Digest::of(found.manifest);
    result_.generation = artifact_.generation;
    result_.producer = artifact_.producer;
    result_.same_bytes = artifact_.producer == artifact::producer();
    result_.layers = artifact_.layers.size();
  }

  Result<Verified> run() {
    RUNNEL_DO(check_belongs(artifact_, image_.digest, image_.manifest, image_.config.diff_ids));
    options_.progress("boot blob");
    RUNNEL_TRY(const Buffer bytes, repository_.blob_bytes(artifact_.boot, artifact_.boot_size));
    RUNNEL_TRY(const auto boot, artifact::open_boot(artifact_, bytes));
    for (size_t i = 0; i < artifact_.layers.size(); ++i) {
      options_.progress(fmt::format("layer {}/{}", i + 1, artifact_.layers.size()));
      const auto done = layer(boot, i);
      if (!done)
        return std::unexpected(done.error().in(
            fmt::format("layer {} (made from {})", i + 1, artifact_.layers[i].source)));
    }
    options_.progress("merged metadata");
    RUNNEL_DO(merged(boot));
    RUNNEL_DO(hot_pack(boot, bytes));
    return result_;
  }

 private:
  // A layer that the image has twice is looked at once; what the artifact says of it must be the
  // same both times.
  Result<void> layer(const Boot& boot, size_t i) {
    const auto& claimed = artifact_.layers[i];
    const auto& record = boot.head.layers[i];
    if (const auto known = proofs_.find(claimed.source); known != proofs_.end()) {
      const auto first = known->second.first;
      const bool same = artifact_.layers[first] == claimed && boot.head.layers[first] == record;
      if (!same)
        return fail(Code::kInvalid, "it is the same as layer {}, and not in the artifact",
                    first + 1);
      return {};
    }
    const ClaimedLayer layer{.layer = claimed,
                             .table = record.slot == 0 ? nullptr : &boot.tables[record.slot - 1],
                             .device_blocks = record.device_blocks,
                             .parts = record.parts};
    RUNNEL_TRY(auto proof, verify_layer(repository_, image_.manifest.layers[i], layer,
                                        result_.same_bytes, options_.work_directory, pool_));
    result_.chunks += proof.chunks;
    result_.plain_bytes += proof.plain_bytes;
    proofs_.emplace(claimed.source, std::pair(i, std::move(proof)));
    return {};
  }

  // The EROFS image that a node mounts.
  Result<void> merged(const Boot& boot) {
    std::vector<artifact::MergeLayer> parts;
    parts.reserve(artifact_.layers.size());
    for (size_t i = 0; i < artifact_.layers.size(); ++i)
      parts.push_back({.tree = proofs_.at(artifact_.layers[i].source).second.tree,
                       .slot = boot.head.layers[i].slot});
    RUNNEL_TRY(auto expected, artifact::merge(std::move(parts)));
    for (const size_t i : artifact::records_with_tables(boot.head.layers))
      expected.devices.push_back({.blocks = boot.head.layers[i].device_blocks,
                                  .tag = to_hex(boot.head.layers[i].blob_digest)});
    RUNNEL_TRY(const Buffer image, erofs::write_image(expected));
    if (image == boot.head.image) return {};
    // Another version may write the same names in other bytes.
    RUNNEL_DO(erofs::validate(boot.head.image));
    RUNNEL_TRY(const auto expected_reader, erofs::Reader::open(image));
    RUNNEL_TRY(const auto found_reader, erofs::Reader::open(boot.head.image));
    RUNNEL_TRY(const auto wanted, erofs::read_tree(expected_reader));
    RUNNEL_TRY(const auto found, erofs::read_tree(found_reader));
    const auto differs = first_difference({wanted.inodes, {}}, {found.inodes, {}});
    if (differs) return fail(Code::kInvalid, "merged metadata: {}", *differs);
    if (wanted.devices != found.devices)
      return fail(Code::kInvalid, "merged metadata: its devices are not the artifact's layers");
    if (result_.same_bytes)
      return fail(Code::kInvalid,
                  "merged metadata: its bytes are not those that this program makes, although it "
                  "says that the same program made it");
    return {};
  }

  Result<void> hot_pack(const Boot& boot, Bytes bytes) const {
    codec::ZstdDecompressor zstd;
    uint64_t at = boot.hot_offset;
    Buffer plain;
    for (const auto& entry : boot.head.hot) {
      const auto& table = boot.tables[boot.head.layers[entry.layer].slot - 1];
      const auto chunk = table.at(entry.chunk);
      if (at > bytes.size() || chunk.stored_size > bytes.size() - at)
        return fail(Code::kInvalid, "hot pack: it ends too early");
      plain.resize(chunk.size());
      const auto opened = zstd.decompress(bytes.subspan(at, chunk.stored_size), plain);
      if (!opened || codec::sha256(plain) != chunk.digest)
        return fail(Code::kInvalid, "hot pack: chunk {} of layer {} has other bytes than the layer",
                    entry.chunk, entry.layer + 1);
      at += chunk.stored_size;
    }
    return {};
  }

  const remote::Repository& repository_;
  const Image& image_;
  const Artifact& artifact_;
  const VerifyOptions& options_;
  WorkerPool pool_;
  Verified result_;
  // By source layer: where it comes first, and what was proved.
  std::map<oci::Digest, std::pair<size_t, LayerProof>> proofs_;
};

Result<void> verify_platform(const remote::Repository& repository,
                             const remote::RemoteManifest& stored, const VerifyOptions& options,
                             std::vector<Verified>& into) {
  RUNNEL_TRY(const auto found, find_artifacts(repository, stored.digest));
  RUNNEL_TRY(const auto image, read_image(repository, stored));
  for (const auto& each : found) {
    auto verified = ArtifactVerification(repository, image, each, options).run();
    if (!verified)
      return std::unexpected(
          verified.error().in(fmt::format("artifact {}", oci::Digest::of(each.manifest))));
    into.push_back(*std::move(verified));
  }
  return {};
}

}  // namespace

Result<std::vector<Verified>> verify_image(const remote::Repository& repository,
                                           const std::string& target,
                                           const VerifyOptions& options) {
  RUNNEL_TRY(const auto named, repository.manifest(target));
  RUNNEL_TRY(const auto document, oci::parse_document(named.bytes, named.media_type));
  std::vector<Verified> all;
  const auto* index = std::get_if<oci::Index>(&document);
  if (index == nullptr) {
    RUNNEL_DO(verify_platform(repository, named, options, all));
    return all;
  }
  for (const auto& child : index->manifests) {
    if (!oci::is_manifest_type(child.media_type)) continue;
    RUNNEL_TRY(const auto stored, repository.manifest(child.digest.to_string()));
    const auto done = verify_platform(repository, stored, options, all);
    if (!done && done.error().code != Code::kNotFound)
      return std::unexpected(done.error().in(child.platform ? oci::to_string(*child.platform)
                                                            : child.digest.to_string()));
  }
  if (all.empty()) return fail(Code::kNotFound, "{} has no streaming artifact", named.digest);
  return all;
}

}  // namespace runnel::convert
