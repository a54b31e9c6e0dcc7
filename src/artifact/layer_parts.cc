#include "artifact/layer_parts.h"

#include <cstring>

namespace runnel::artifact {

void write_parts(ByteWriter& out, const LayerParts& parts) {
  out.u64(parts.tree_offset);
  out.u64(parts.tree_stored);
  out.u64(parts.tree_size);
  out.bytes(parts.tree_digest);
  out.u64(parts.table_offset);
  out.u64(parts.table_size);
  out.bytes(parts.table_digest);
}

Result<LayerParts> read_parts(ByteReader& reader, uint64_t blob_size) {
  LayerParts parts;
  RUNNEL_TRY(parts.tree_offset, reader.u64());
  RUNNEL_TRY(parts.tree_stored, reader.u64());
  RUNNEL_TRY(parts.tree_size, reader.u64());
  RUNNEL_TRY(parts.tree_digest, read_digest(reader));
  RUNNEL_TRY(parts.table_offset, reader.u64());
  RUNNEL_TRY(parts.table_size, reader.u64());
  RUNNEL_TRY(parts.table_digest, read_digest(reader));
  const bool fill = blob_size >= kLayerFooterSize && blob_size <= kMaxBlobSize &&
                    parts.tree_offset <= blob_size && parts.tree_stored <= kMaxTreeStored &&
                    parts.table_size <= kMaxTableSize &&
                    parts.table_offset == parts.tree_offset + parts.tree_stored &&
                    parts.table_offset + parts.table_size == blob_size - kLayerFooterSize;
  if (!fill)
    return fail(Code::kInvalid, "layer blob: its parts do not fill its {} bytes", blob_size);
  return parts;
}

Result<codec::Sha256Value> read_digest(ByteReader& reader) {
  codec::Sha256Value value;
  RUNNEL_TRY(const Bytes bytes, reader.bytes(value.size()));
  std::memcpy(value.data(), bytes.data(), value.size());
  return value;
}

}  // namespace runnel::artifact
