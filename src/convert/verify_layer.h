// One layer of an artifact, held against the image's layer that it is made from.
#pragma once

#include <string>

#include "artifact/artifact.h"
#include "artifact/chunk_table.h"
#include "artifact/layer_parts.h"
#include "artifact/layer_tree.h"
#include "base/error.h"
#include "base/worker_pool.h"
#include "remote/repository.h"

namespace runnel::convert {

// What an artifact says of a layer.
struct ClaimedLayer {
  artifact::ArtifactLayer layer;
  const artifact::ChunkTable* table = nullptr;  // null when the layer has no data
  uint64_t device_blocks = 0;
  artifact::LayerParts parts;
};

struct LayerProof {
  artifact::LayerTree tree;  // of the image's layer, in its stored order
  uint64_t chunks = 0;
  uint64_t plain_bytes = 0;  // of the chunks
};

// Reads the image's layer, lays it out again and compares every chunk's digest and the tree; then
// reads the artifact's blob and compares what is stored there. With `same_producer` the blob's
// bytes must be those that this program makes, too. Memory is bounded but for the tree; a scratch
// file in `work_directory` is as large as the blob, with `same_producer` only.
//
// kInvalid says what differs.
Result<LayerProof> verify_layer(const remote::Repository& repository, const oci::Descriptor& source,
                                const ClaimedLayer& claimed, bool same_producer,
                                const std::string& work_directory, WorkerPool& pool);

}  // namespace runnel::convert
