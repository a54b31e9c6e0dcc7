// convert/ turns an image in a registry into its streaming artifact and pushes that beside it.
//
// A registry that converts what others pushed has the layers read in a process that is confined to
// it (worker_process.h, worker_sandbox.h); what both make of an image is the same, byte for byte.
//
// It does not hold: the format (artifact/), the registry protocol (remote/), a queue of conversions
// (registry/). One call converts one image; calls for several images may run at once.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/profile.h"
#include "artifact/signature.h"
#include "base/error.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "remote/repository.h"

namespace runnel::convert {

// Where a conversion is, for a person who waits.
struct Progress {
  std::string step;  // "layer 2/3: converting"
  uint64_t done = 0;
  uint64_t total = 0;  // 0: not known
};

struct Options {
  // Layer blobs are written here before they are pushed; the directory must exist. What a
  // conversion leaves in it is gone when the call returns.
  std::string work_directory;
  unsigned threads = 2;
  // Files whose chunks go into the hot pack, in this order ("/usr/bin/python3"); names that the
  // image does not have are skipped.
  std::vector<std::string> hot_files;
  // Then the chunks that a start read. The artifact then gets a generation above those that the
  // image has, unless one of them is the same.
  std::optional<artifact::Profile> profile;
  std::optional<artifact::Key> key;                    // signs when it is there
  std::string artifact_type{artifact::kArtifactType};  // see artifact_type_for()
  std::function<void(const Progress&)> progress = [](const Progress&) {};
};

// One platform's artifact.
struct Converted {
  oci::Digest subject;
  std::string platform;
  oci::Digest artifact;         // the artifact's manifest
  uint64_t source_bytes = 0;    // of the image's layers
  uint64_t artifact_bytes = 0;  // of all of its blobs
  uint64_t pushed_bytes = 0;    // of the blobs that the registry did not have
  bool changed = false;         // false: the registry had this very artifact
};

// The type that artifacts have in the registry of that host: our own program's, or any other's. It
// is told by the Server header of GET /v2/.
Result<std::string> artifact_type_for(remote::Gateway& gateway, const std::string& host);

// kDenied when who asks may not push artifacts of that type to the repository, in the registry's
// words, and kUnavailable when the registry takes nothing. Three requests, which leave nothing
// there. Another refusal says nothing of an artifact and is no error here.
Result<void> check_rights(const remote::Repository& repository, const std::string& artifact_type);

// Converts what `target` (a tag or digest of `repository`) names: one image, or each Linux platform
// of an index; what is no Linux image (attestations, artifacts) is skipped. Nothing of an artifact
// is visible before all of it is there; layer blobs are pushed while other layers are converted.
// Errors name the image and the layer, and come when the blobs that are just being pushed are
// through.
Result<std::vector<Converted>> convert_image(remote::Repository& repository,
                                             const std::string& target, const Options& options);

}  // namespace runnel::convert
