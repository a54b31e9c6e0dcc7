// An artifact of two layers, "low" and "high", with all that its manifest must have. Its digests
// are of names.
#pragma once

#include <string>

#include "artifact/artifact.h"
#include "oci/media_types.h"

namespace runnel::test {

inline oci::Digest named(const std::string& name) {
  return oci::Digest::of(as_bytes(name));
}

// Its boot blob is named("boot GENERATION"), of 4000 + GENERATION bytes.
inline artifact::Artifact sample_artifact(const oci::Digest& subject, uint64_t generation) {
  artifact::Artifact made;
  made.subject.media_type = oci::kOciManifest;
  made.subject.digest = subject;
  made.subject.size = 500;
  made.platform.os = "linux";
  made.platform.architecture = "amd64";
  made.artifact_type = artifact::kAzureArtifactType;
  made.producer = artifact::producer();
  for (const std::string name : {"low", "high"}) {
    made.layers.push_back({.source = named("source " + name),
                           .diff_id = named("diff " + name),
                           .blob = named("blob " + name),
                           .blob_size = 300,
                           .table_digest = codec::sha256(as_bytes(name))});
  }
  made.boot = named("boot " + std::to_string(generation));
  made.boot_size = 4000 + generation;
  made.head = named("head");
  made.head_size = 3000;
  made.generation = generation;
  return made;
}

}  // namespace runnel::test
