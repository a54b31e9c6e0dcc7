#include "convert/verify_layer.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "artifact/layer_blob.h"
#include "artifact/layer_layout.h"
#include "base/fd.h"
#include "codec/zstd.h"
#include "convert/tree_difference.h"

namespace runnel::convert {

namespace {

using artifact::ChunkTable;
using artifact::LayerTree;

uint32_t chunks_in(const ChunkTable* table) {
  return table == nullptr ? 0 : table->size();
}

// The image's layer, laid out again and cut as the table says, so that any rule for cutting is met;
// every chunk is compared when it has come.
class Derivation {
 public:
  Derivation(const ClaimedLayer& claimed, artifact::LayerBlobWriter* writer)
      : claimed_(claimed),
        writer_(writer),
        layout_(claimed.layer.diff_id, artifact::kChunkSize,
                [this](const Buffer& bytes) { return device_bytes(bytes); }) {}

  Result<void> feed(Bytes bytes) { return layout_.feed(bytes); }

  // The tree, in its stored order.
  Result<LayerTree> finish() {
    RUNNEL_TRY(auto tree, layout_.finish());
    if (!chunk_.empty())
      return fail(Code::kInvalid, "chunk {} has {} bytes in its table, {} in the image's layer",
                  chunks_, claimed_.table->at(chunks_).size(), chunk_.size());
    if (chunks_ != chunks_in(claimed_.table))
      return fail(Code::kInvalid, "its chunk table has {} chunks, the image's layer gives {}",
                  chunks_in(claimed_.table), chunks_);
    if (blocks_ != claimed_.device_blocks)
      return fail(Code::kInvalid, "it says {} blocks of data, the image's layer gives {}",
                  claimed_.device_blocks, blocks_);
    return artifact::parse_layer_tree(artifact::serialize(tree), blocks_);
  }

  uint64_t chunks() const { return chunks_; }
  uint64_t plain_bytes() const { return blocks_ * artifact::kBlockSize; }

 private:
  Result<void> device_bytes(Bytes bytes) {
    while (!bytes.empty()) {
      if (chunks_ >= chunks_in(claimed_.table))
        return fail(Code::kInvalid,
                    "its chunk table ends after {} chunks, the image's layer does not", chunks_);
      const size_t size = claimed_.table->at(chunks_).size();
      const auto part = bytes.first(std::min(bytes.size(), size - chunk_.size()));
      chunk_.insert(chunk_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (chunk_.size() == size) RUNNEL_DO(compare(std::exchange(chunk_, {})));
    }
    return {};
  }

  Result<void> compare(Buffer chunk) {
    const auto at = claimed_.table->at(chunks_);
    const auto digest = codec::sha256(chunk);
    if (at.digest != digest)
      return fail(Code::kInvalid,
                  "chunk {} has the digest {} in its table, the image's layer gives {}", chunks_,
                  to_hex(at.digest), to_hex(digest));
    ++chunks_;
    blocks_ += at.blocks;
    return writer_ == nullptr ? Result<void>() : writer_->add_chunk(std::move(chunk));
  }

  const ClaimedLayer& claimed_;
  artifact::LayerBlobWriter* const writer_;
  uint32_t chunks_ = 0;
  uint64_t blocks_ = 0;
  Buffer chunk_;  // what has come of chunk number chunks_
  artifact::LayerLayout layout_;
};

// The artifact's blob, as its bytes arrive: frames, then tree, table and footer.
class StoredLayer {
 public:
  explicit StoredLayer(const ClaimedLayer& claimed) : claimed_(claimed) {}

  Result<void> feed(Bytes bytes) {
    while (chunk_ < chunks_in(claimed_.table)) {
      const auto at = claimed_.table->at(chunk_);
      const size_t take = std::min<size_t>(at.stored_size - rest_.size(), bytes.size());
      append(bytes.first(take));
      bytes = bytes.subspan(take);
      if (rest_.size() < at.stored_size) return {};
      RUNNEL_DO(check_frame(at));
      rest_.clear();
      ++chunk_;
    }
    if (rest_.size() + bytes.size() > kMaxRest)
      return fail(Code::kExhausted, "its tree and chunk table have more than {} bytes", kMaxRest);
    append(bytes);
    return {};
  }

  // The tree that is stored.
  Result<LayerTree> finish() const {
    if (chunk_ < chunks_in(claimed_.table))
      return fail(Code::kInvalid, "its blob ends in chunk {}", chunk_);
    if (rest_.size() < artifact::kLayerFooterSize)
      return fail(Code::kInvalid, "its blob has no footer");
    const auto footer = Bytes(rest_).last(artifact::kLayerFooterSize);
    RUNNEL_TRY(const auto parts, artifact::parse_layer_footer(footer, claimed_.layer.blob_size));
    if (parts != claimed_.parts)
      return fail(Code::kInvalid, "its blob's footer does not say what the boot blob says");
    const uint64_t frames = claimed_.table == nullptr ? 0 : claimed_.table->frame_bytes();
    if (parts.tree_offset != frames || parts.tree_stored > rest_.size() ||
        parts.table_size > rest_.size() - parts.tree_stored)
      return fail(Code::kInvalid, "its blob's tree does not follow its chunks");
    if (claimed_.table != nullptr &&
        !std::ranges::equal(Bytes(rest_).subspan(parts.tree_stored, parts.table_size),
                            claimed_.table->bytes()))
      return fail(Code::kInvalid, "its blob has another chunk table than its boot blob");
    return artifact::open_layer_tree(Bytes(rest_).first(parts.tree_stored), parts,
                                     claimed_.device_blocks);
  }

 private:
  // A tree and a table within their formats' limits.
  static constexpr uint64_t kMaxRest = uint64_t{3} << 30;

  void append(Bytes bytes) { rest_.insert(rest_.end(), bytes.begin(), bytes.end()); }

  Result<void> check_frame(const artifact::Chunk& at) {
    plain_.resize(at.size());
    const auto opened = zstd_.decompress(rest_, plain_);
    if (!opened)
      return fail(Code::kInvalid, "chunk {} of its blob: {}", chunk_, opened.error().message);
    if (codec::sha256(plain_) != at.digest)
      return fail(Code::kInvalid, "chunk {} of its blob has other bytes than the image's layer",
                  chunk_);
    return {};
  }

  const ClaimedLayer& claimed_;
  codec::ZstdDecompressor zstd_;
  Buffer rest_;  // a frame that has not all come; then what follows the frames
  Buffer plain_;
  uint32_t chunk_ = 0;
};

Result<void> verify_stored(const remote::Repository& repository, const ClaimedLayer& claimed,
                           const LayerTree& expected) {
  StoredLayer stored(claimed);
  oci::Descriptor blob;
  blob.digest = claimed.layer.blob;
  blob.size = claimed.layer.blob_size;
  RUNNEL_DO(repository.blob(blob, [&](Bytes bytes) { return stored.feed(bytes); }));
  RUNNEL_TRY(const auto found, stored.finish());
  const auto differs =
      first_difference({expected.inodes, expected.flags}, {found.inodes, found.flags});
  if (differs) return fail(Code::kInvalid, "its tree: {}", *differs);
  return {};
}

}  // namespace

Result<LayerProof> verify_layer(const remote::Repository& repository, const oci::Descriptor& source,
                                const ClaimedLayer& claimed, bool same_producer,
                                const std::string& work_directory, WorkerPool& pool) {
  UniqueFd scratch;
  std::optional<artifact::LayerBlobWriter> writer;
  if (same_producer) {
    RUNNEL_TRY(scratch, open_file(work_directory, O_TMPFILE | O_RDWR, 0600));
    writer.emplace(scratch.get(), pool);
  }
  Derivation derivation(claimed, writer ? &*writer : nullptr);
  RUNNEL_DO(repository.blob(source, [&](Bytes bytes) { return derivation.feed(bytes); }));
  LayerProof proof;
  RUNNEL_TRY(proof.tree, derivation.finish());
  proof.chunks = derivation.chunks();
  proof.plain_bytes = derivation.plain_bytes();
  RUNNEL_DO(verify_stored(repository, claimed, proof.tree));
  if (!writer) return proof;
  RUNNEL_TRY(const auto made, writer->finish(proof.tree));
  const auto digest = oci::Digest::from_sha256(made.digest);
  if (digest != claimed.layer.blob)
    return fail(Code::kInvalid,
                "its blob is {}, this program makes {} of the same layer, although it says that "
                "the same program made it",
                claimed.layer.blob, digest);
  return proof;
}

}  // namespace runnel::convert
