// A source layer as its registry has it, into the entries of its tar.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "codec/layer_decoder.h"
#include "oci/background_digester.h"
#include "oci/digest.h"
#include "tar/reader.h"

namespace runnel::artifact {

// What a layer may cost before it is refused with kExhausted: a small blob can inflate to anything.
struct LayerLimits {
  uint64_t max_plain_bytes = std::numeric_limits<uint64_t>::max();
  uint64_t max_entries = std::numeric_limits<uint64_t>::max();
};

// Decompresses, hashes and reads the archive; memory is bounded whatever the layer's size. One
// thread feeds it.
//
// Errors are final, say which entry or byte of the layer is wrong, or are the handler's own.
class LayerReader {
 public:
  // `diff_id` is what the image's configuration says of the layer. `handler` outlives the reader,
  // as does `hashing`, on which the plain bytes are hashed; without it the feeding thread does
  // that.
  LayerReader(const oci::Digest& diff_id, tar::Handler& handler, const LayerLimits& limits = {},
              WorkerPool* hashing = nullptr);
  ~LayerReader();

  // The next bytes. The layer's first ones say how it is compressed: registries mislabel layers,
  // and the diff ID decides in the end.
  Result<void> feed(Bytes bytes);

  // The layer has ended. kInvalid unless all of it came and its plain bytes have the diff ID.
  Result<void> finish();

  // Of the tar, so far.
  uint64_t plain_bytes() const { return plain_bytes_; }

 private:
  Result<void> decode(Bytes bytes);
  Result<void> plain(Bytes bytes);

  std::unique_ptr<codec::LayerDecoder> decoder_;
  Buffer first_bytes_;  // until there are enough to tell the compression
  const oci::Digest diff_id_;
  tar::Handler& handler_;
  const LayerLimits limits_;
  oci::BackgroundDigester digest_;
  uint64_t plain_bytes_ = 0;
  tar::Reader tar_;
};

}  // namespace runnel::artifact
