// One conversion: every image behind a digest, into artifacts beside them.
//
// prepare() does all the work out of sight, in files that have no names and in uploads that are no
// blobs yet; publish() makes it visible, each artifact whole. Dropped in between, nothing stays.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/signature.h"
#include "convert/image_artifact.h"
#include "convert/worker_process.h"
#include "registry/config.h"
#include "registry/conversion_source.h"
#include "registry/converted_layers.h"
#include "registry/uploads.h"

namespace runnel::registry {

// Whose uploads become the blobs of artifacts.
inline constexpr std::string_view kConverter = "converter";

// What conversions work with. Everything outlives them.
struct ConversionTools {
  const Config& config;
  blob::BlobStore& blobs;
  meta::MetadataStore& metadata;
  Uploads& uploads;
  const artifact::Key& key;
  convert::WorkerProgram program;
};

struct ConversionWatch {
  std::function<void(unsigned percent)> progress;
  // Asked at least twice a second.
  std::function<bool()> give_up;
};

// What boot blobs are to have besides what a start always needs.
struct BootWish {
  uint64_t generation = 1;
  std::string profile;  // JSON (artifact/profile.h); empty: none
};

struct ConversionResult {
  std::vector<oci::Digest> artifacts;
  size_t converted_layers = 0;
  size_t reused_layers = 0;
};

// One thread at a time; calls block for as long as it takes.
class ImageConversion {
 public:
  ImageConversion(const ConversionTools& tools, std::string repository, ConversionSource source,
                  ConversionWatch watch, BootWish wish = {});
  ~ImageConversion();

  Convertible<void> prepare();
  // Once, after prepare().
  Convertible<ConversionResult> publish();

 private:
  class Output;
  struct Layer;
  struct Boot;
  // Bytes that wait to become a blob.
  struct Staged;

  Convertible<void> convert_layers();
  Convertible<void> make_layer(const oci::Descriptor& descriptor, const oci::Digest& diff_id);
  Convertible<bool> reuse(Layer& layer, const oci::Descriptor& descriptor);
  Convertible<void> convert(Layer& layer, const oci::Descriptor& descriptor);
  Convertible<void> make_boot(const SourceImage& image);
  // What an earlier version's starts read, for a boot blob that no profile is wished for. Nothing
  // when that version's blobs are gone.
  Result<void> add_earlier(convert::BootJob& job, const SourceImage& image,
                           std::vector<std::shared_ptr<const UniqueFd>>& files);
  // Null when the repository does not have the blob, whoever else does, or it is no file.
  Result<std::shared_ptr<const UniqueFd>> own_blob(const oci::Digest& digest);
  // What starts of images in any repository read of layers that this one has, too.
  Result<void> add_shared(convert::BootJob& job);
  // The layers of the images' artifacts that are ours: also those that were not made here.
  Result<void> read_artifacts();
  std::optional<ConvertedLayer> of_artifacts(const oci::Digest& source,
                                             const oci::Digest& diff_id) const;
  // `digest` is the file's; one that somebody else said of it is checked.
  enum class Trust : uint8_t { kFound, kSaid };
  Convertible<void> stage(int file, const oci::Digest& digest, uint64_t size, Trust trust);
  // `source` is the layer that the blob was made of.
  Convertible<void> link(const oci::Digest& source, const oci::Digest& blob);
  Convertible<oci::Digest> put_artifact(artifact::Artifact artifact, const SourceImage& image,
                                        const oci::Descriptor& subject);
  convert::WorkerLimits limits() const;
  convert::WorkerWatch worker_watch();
  Convertible<void> go_on();

  const ConversionTools& tools_;
  const std::string repository_;
  const ConversionSource source_;
  const ConversionWatch watch_;
  const BootWish wish_;
  uint64_t total_bytes_ = 0;  // of the layers that are to be converted
  uint64_t done_bytes_ = 0;
  std::map<oci::Digest, std::unique_ptr<Layer>> layers_;  // by the source layer's digest
  std::vector<Boot> boots_;                               // of source_.images, in their order
  std::vector<Staged> staged_;
  std::vector<artifact::ArtifactLayer> made_before_;
  ConversionResult result_;
};

}  // namespace runnel::registry
