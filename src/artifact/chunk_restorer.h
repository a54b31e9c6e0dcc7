// From a source layer back to the chunks of its layer blob, for when the blob itself is gone.
//
// The device image depends on the layer alone: files in the archive's order, each from a block on
// (chunker.h). Where it is cut into chunks is taken from the chunk table, not from what this
// program would do today: so a table of any chunk size, and of any rule for which file gets chunks
// of its own, is met.
#pragma once

#include <cstdint>
#include <functional>

#include "artifact/chunk_table.h"
#include "artifact/chunker.h"
#include "artifact/layer_reader.h"
#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"
#include "tar/reader.h"

namespace runnel::artifact {

// One thread feeds it. Memory is bounded: a chunk, and what the decoder needs.
class ChunkRestorer : private tar::Handler {
 public:
  // Gets each chunk in order, verified against the table. Its error ends the restoring.
  using Sink = std::function<Result<void>(uint32_t chunk, Buffer plain)>;

  // `table` outlives the restorer.
  ChunkRestorer(const ChunkTable& table, const oci::Digest& diff_id, Sink sink);

  // The next bytes of the layer. kInvalid as soon as a chunk differs from the table.
  Result<void> feed(Bytes bytes);
  // The layer has ended: kInvalid unless every chunk came and the plain bytes have the diff ID.
  Result<void> finish();

 private:
  Result<void> entry(const tar::Entry& entry) override;
  Result<void> data(uint64_t offset, Bytes bytes) override;
  Result<void> entry_end() override;

  Result<void> device_bytes(Bytes bytes);
  Result<void> hand_out();

  const ChunkTable& table_;
  const Sink sink_;
  LayerReader reader_;
  Chunker chunker_;
  bool on_device_ = false;  // the entry whose content comes now
  uint32_t next_ = 0;
  Buffer chunk_;  // what has come of next_
};

}  // namespace runnel::artifact
