// A remote image seen through its artifact: metadata at once, file contents chunk by chunk.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "artifact/open_boot.h"
#include "base/error.h"
#include "cli/registry_access.h"
#include "erofs/reader.h"

namespace runnel::cli {

// One thread uses it.
class RemoteImage {
 public:
  // Resolves the reference (for an index: this machine's platform), finds the artifact and reads
  // its boot blob. kNotFound when there is none; says how to make one.
  static Result<RemoteImage> open(const RegistryAccess& registries,
                                  const oci::Reference& reference);

  const artifact::Artifact& artifact() const { return artifact_; }
  const artifact::Boot& boot() const { return boot_; }
  Result<erofs::Reader> reader() const { return erofs::Reader::open(boot_.head.image); }

  // The file's bytes in order, verified; holes as zeros.
  Result<void> read_file(const erofs::Reader& reader, const erofs::Node& file,
                         const std::function<Result<void>(Bytes)>& sink) const;

 private:
  RemoteImage(remote::Repository repository, artifact::Artifact artifact, artifact::Boot boot)
      : repository_(std::move(repository)),
        artifact_(std::move(artifact)),
        boot_(std::move(boot)) {}

  Result<Buffer> read_chunk(uint16_t device, uint32_t chunk) const;

  remote::Repository repository_;
  artifact::Artifact artifact_;
  artifact::Boot boot_;
};

}  // namespace runnel::cli
