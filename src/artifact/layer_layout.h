// A source layer laid out: its tree, and its device image in chunks.
#pragma once

#include <cstdint>
#include <optional>

#include "artifact/chunker.h"
#include "artifact/layer_reader.h"
#include "artifact/layer_tree.h"
#include "artifact/tree_builder.h"
#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"
#include "tar/reader.h"

namespace runnel::artifact {

// One thread feeds it. Apart from the tree, memory is bounded whatever the layer's size. Equal
// layers give equal trees and chunks, in the converter and on a node whose artifact is gone.
//
// Errors are final and say which entry or byte of the layer is wrong.
class LayerLayout : private tar::Handler {
 public:
  // `diff_id` is what the image's configuration says of the layer; `chunk_size` and `sink` as
  // Chunker has them, `hashing` as LayerReader.
  LayerLayout(const oci::Digest& diff_id, uint32_t chunk_size, Chunker::Sink sink,
              const LayerLimits& limits = {}, WorkerPool* hashing = nullptr);

  // The next bytes of the layer as the registry has it.
  Result<void> feed(Bytes bytes) { return reader_.feed(bytes); }
  // The layer has ended. Hands out the last chunk. kInvalid unless its plain bytes have the diff
  // ID.
  Result<LayerTree> finish();

  // Of the tar, so far.
  uint64_t plain_bytes() const { return reader_.plain_bytes(); }

 private:
  Result<void> entry(const tar::Entry& entry) override;
  Result<void> data(uint64_t offset, Bytes bytes) override;
  Result<void> entry_end() override;

  LayerReader reader_;
  const uint64_t max_entries_;
  uint64_t entries_ = 0;
  TreeBuilder tree_;
  Chunker chunker_;
  std::optional<uint32_t> file_;  // the inode whose content comes now
};

}  // namespace runnel::artifact
