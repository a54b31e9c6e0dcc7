// Opens an untrusted boot blob: after this everything in it is verified against the artifact's
// manifest and consistent in itself, and the kernel may mount the metadata. Either all at once, in
// memory; or in steps, for a blob that is still arriving and metadata that goes to a file.
#pragma once

#include <functional>
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

// The first step. `bytes` are the artifact's head_size bytes; what comes back is without the image,
// says how many bytes of tables follow (no more than the boot blob has, nor than kMaxTablesSize),
// and is only as good as the manifest.
Result<BootHead> open_head(const Artifact& artifact, Bytes bytes);
// The second. `tables` begin where the head ends, and may be longer; they stay where they are when
// `owner` keeps them, and are copied when it is null.
Result<Boot> open_tables(const Artifact& artifact, BootHead head, Bytes tables,
                         std::shared_ptr<const void> owner);
// The third, when the image has been unpacked to where it is mounted from: whether the kernel may.
// `rest` as in erofs::validate().
Result<void> check_image(const Boot& boot, Bytes image, const std::function<void()>& rest = {});

}  // namespace runnel::artifact
