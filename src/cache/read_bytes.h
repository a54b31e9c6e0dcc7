// What a read of a layer gave.
#pragma once

#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "cache/chunk_bytes.h"

namespace runnel::cache {

// Most reads lie within one chunk, and most of those find it in memory: they are given a part of it
// and no copy. The bytes are there as long as this is.
class ReadBytes {
 public:
  explicit ReadBytes(std::shared_ptr<const ChunkBytes> owner)
      : owner_(std::move(owner)), bytes_(std::as_const(*owner_).all()) {}
  // `part` lies in `owner`.
  ReadBytes(std::shared_ptr<const ChunkBytes> owner, Bytes part)
      : owner_(std::move(owner)), bytes_(part) {}

  Bytes all() const { return bytes_; }
  // A copy, for who keeps them.
  operator Buffer() const { return {bytes_.begin(), bytes_.end()}; }  // NOLINT(*-explicit-*)

 private:
  std::shared_ptr<const ChunkBytes> owner_;
  Bytes bytes_;
};

// A view of `read`, or its error.
inline Result<Bytes> bytes_of(const Result<ReadBytes>& read) {
  if (!read) return std::unexpected(read.error());
  return read->all();
}

}  // namespace runnel::cache
