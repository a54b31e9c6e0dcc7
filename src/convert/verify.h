// Proves that an artifact is what its image says: makes it again, and compares.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "oci/digest.h"
#include "remote/repository.h"

namespace runnel::convert {

struct VerifyOptions {
  std::string work_directory = "/var/tmp";  // for scratch files without a name
  unsigned threads = 2;
  std::function<void(const std::string& step)> progress = [](const std::string&) {};
};

// An artifact that is right.
struct Verified {
  oci::Digest subject;  // the manifest of one platform's image
  std::string platform;
  oci::Digest artifact;
  uint64_t generation = 1;
  std::string producer;
  bool same_bytes = false;  // this program made it: its blobs are equal byte by byte
  uint64_t layers = 0;
  uint64_t chunks = 0;
  uint64_t plain_bytes = 0;
};

// All artifacts that `target` (a tag or digest of `repository`) has, of each platform of an index
// that has any. Names, attributes and chunk digests are those that the image's layers give, what is
// stored is that, and the merged metadata and hot chunks are made of it; signatures are not looked
// at. kInvalid says what differs, kNotFound that there is no artifact.
Result<std::vector<Verified>> verify_image(const remote::Repository& repository,
                                           const std::string& target, const VerifyOptions& options);

}  // namespace runnel::convert
