#include "artifact/chunk_restorer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "artifact/tree_builder.h"

namespace runnel::artifact {

ChunkRestorer::ChunkRestorer(const ChunkTable& table, const oci::Digest& diff_id, Sink sink)
    : table_(table),
      sink_(std::move(sink)),
      reader_(diff_id, *this),
      chunker_(kChunkSize, [this](Buffer bytes) { return device_bytes(bytes); }) {}

Result<void> ChunkRestorer::feed(Bytes bytes) {
  return reader_.feed(bytes);
}

Result<void> ChunkRestorer::finish() {
  RUNNEL_DO(reader_.finish());
  RUNNEL_DO(chunker_.finish());
  if (next_ == table_.size()) return {};
  return fail(Code::kInvalid, "its files fill {} of the {} chunks of the chunk table", next_,
              table_.size());
}

Result<void> ChunkRestorer::entry(const tar::Entry& entry) {
  RUNNEL_TRY(on_device_, lies_on_device(entry));
  return on_device_ ? begin_file(chunker_, entry) : Result<void>();
}

Result<void> ChunkRestorer::data(uint64_t offset, Bytes bytes) {
  return on_device_ ? chunker_.write(offset, bytes) : Result<void>();
}

Result<void> ChunkRestorer::entry_end() {
  if (!on_device_) return {};
  RUNNEL_DO(chunker_.end_file());
  return {};
}

// The next bytes of the device, cut anew.
Result<void> ChunkRestorer::device_bytes(Bytes bytes) {
  while (!bytes.empty()) {
    if (next_ == table_.size()) {
      return fail(Code::kInvalid, "its files need more than the {} bytes of the chunk table",
                  table_.device_size());
    }
    const auto part = bytes.first(std::min(bytes.size(), table_.at(next_).size() - chunk_.size()));
    chunk_.insert(chunk_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (chunk_.size() == table_.at(next_).size()) RUNNEL_DO(hand_out());
  }
  return {};
}

Result<void> ChunkRestorer::hand_out() {
  Buffer plain = std::exchange(chunk_, {});
  if (codec::sha256(plain) != table_.at(next_).digest) {
    return fail(Code::kInvalid, "chunk {} made from it is not what the chunk table says", next_);
  }
  return sink_(next_++, std::move(plain));
}

}  // namespace runnel::artifact
