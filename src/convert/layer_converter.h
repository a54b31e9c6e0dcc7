// One source layer, as its bytes arrive, into a layer blob.
#pragma once

#include <optional>

#include "artifact/chunker.h"
#include "artifact/layer_blob.h"
#include "artifact/layer_reader.h"
#include "artifact/tree_builder.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "oci/digest.h"
#include "tar/reader.h"

namespace runnel::convert {

// Decodes, reads the tar, lays out and compresses; memory is bounded whatever the layer's size. One
// thread feeds it; compression and hashing run on the pool.
//
// Errors are final and say which entry or byte of the layer is wrong.
class LayerConverter : private tar::Handler {
 public:
  // Writes to `fd`, which is empty and outlives the converter, as does the pool. `diff_id` is what
  // the image's configuration says of the layer.
  LayerConverter(int fd, WorkerPool& pool, const oci::Digest& diff_id);
  ~LayerConverter() override;

  // The next bytes of the layer as the registry has it. Its first bytes say how it is compressed:
  // registries mislabel layers, and the diff ID decides in the end.
  Result<void> feed(Bytes bytes);

  struct Converted {
    artifact::LayerBlobWriter::Written blob;
    artifact::LayerTree tree;
    uint64_t plain_bytes = 0;  // of the tar
  };
  // The layer has ended. kInvalid unless its plain bytes have the diff ID.
  Result<Converted> finish();

 private:
  Result<void> entry(const tar::Entry& entry) override;
  Result<void> data(uint64_t offset, Bytes bytes) override;
  Result<void> entry_end() override;

  artifact::LayerReader reader_;
  artifact::TreeBuilder tree_;
  artifact::LayerBlobWriter blob_;
  artifact::Chunker chunker_;
  std::optional<uint32_t> file_;  // the inode whose content comes now
};

}  // namespace runnel::convert
