#include "registry/blob_check.h"

#include "base/fd.h"

namespace runnel::registry {

namespace {

constexpr size_t kBlock = 1 << 20;

Result<size_t> read_some(const blob::Content& content, uint64_t offset, MutableBytes into) {
  if (const auto* file = std::get_if<blob::FileContent>(&content))
    return read_up_to_at(file->file->get(), into, offset);
  if (const auto* stream = std::get_if<blob::StreamContent>(&content))
    return stream->reader->read_at(offset, into);
  return fail(Code::kUnsupported, "this blob store's blobs can only be read by their URL");
}

}  // namespace

Result<void> read_blob(const blob::Content& content,
                       const std::function<Result<void>(Bytes)>& use) {
  Buffer block(kBlock);
  for (uint64_t at = 0;;) {
    RUNNEL_TRY(const size_t count, read_some(content, at, block));
    if (count == 0) return {};
    RUNNEL_DO(use(Bytes(block).first(count)));
    at += count;
  }
}

Result<BlobState> check_blob(blob::BlobStore& blobs, const oci::Digest& digest,
                             const std::function<Result<void>(size_t)>& after_block) {
  RUNNEL_TRY(const auto content, blobs.open(digest));
  if (!content) return BlobState::kAbsent;
  oci::Digester digester(digest.algorithm());
  const auto use = [&](Bytes bytes) -> Result<void> {
    digester.update(bytes);
    return after_block(bytes.size());
  };
  RUNNEL_DO(read_blob(*content, use));
  return digester.finish() == digest ? BlobState::kGood : BlobState::kDamaged;
}

}  // namespace runnel::registry
