// Opens an untrusted boot blob: after this everything in it is verified against the artifact's
// manifest and consistent in itself, and the kernel may mount the metadata.
#pragma once

#include <memory>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/boot_blob.h"
#include "artifact/chunk_table.h"
#include "base/error.h"

namespace runnel::artifact {

struct Boot {
  BootHead head;
  std::vector<ChunkTable> tables;  // of slot 1, 2, …
  uint64_t hot_offset = 0;         // in the boot blob: where the hot pack begins

  // The record that slot `slot` (from 1) is of.
  const LayerRecord& record_of(uint16_t slot) const;
};

// `bytes` are the boot blob, or at least its head and tables. kInvalid says what does not agree.
Result<Boot> open_boot(const Artifact& artifact, Bytes bytes);
// The tables stay where they are, in bytes that `owner` keeps.
Result<Boot> open_boot(const Artifact& artifact, Bytes bytes, std::shared_ptr<const void> owner);

// The same in two steps, for a blob that is still arriving. `bytes` are the artifact's head_size
// bytes; what comes back says how many bytes of tables follow, and is only as good as the manifest.
Result<BootHead> open_head(const Artifact& artifact, Bytes bytes);
// `tables` begin where the head ends.
Result<Boot> open_boot(const Artifact& artifact, BootHead head, Bytes tables,
                       std::shared_ptr<const void> owner);

}  // namespace runnel::artifact
