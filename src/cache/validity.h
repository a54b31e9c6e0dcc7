// Which chunks of a layer are on this disk, durably: one bit a chunk, in a file of its own, because
// a hole in the device file proves nothing.
//
//      0  magic "RNLVALID"     8  version u32 = 1     12  chunk count u32
//     16  chunk table's digest, 32 bytes              48  zeros
//   4096  bits, chunk 0 is the lowest bit of the first byte
//
// A bit is set only after fdatasync of the chunk's data succeeded.
#pragma once

#include <memory>
#include <span>

#include "artifact/chunk_table.h"
#include "base/error.h"
#include "cache/storage.h"

namespace runnel::cache {

// One thread at a time.
class Validity {
 public:
  // One that belongs to another table, or is damaged, starts empty. A new one costs no disk.
  // `settled` says that an earlier process left the file with settle(), and nobody was at it since.
  static Result<Validity> open(std::unique_ptr<File> file, const artifact::ChunkTable& table,
                               bool settled);

  bool has(uint32_t chunk) const;
  // Sets the bits and makes them durable.
  Result<void> set(std::span<const uint32_t> chunks);
  Result<void> clear(std::span<const uint32_t> chunks);
  // Makes all of them durable as they are here, unless they are known to be. What was read from the
  // page cache is not: an earlier process may not have lived to sync its last change, or have been
  // told that it is lost.
  Result<void> settle();

 private:
  // What of the file is on the disk as it is here.
  enum class OnDisk : uint8_t {
    kAll,
    kNothing,  // it is new: its first sync is one of all that is in it
    kUnknown,
  };

  Validity(std::unique_ptr<File> file, Buffer bits, OnDisk on_disk)
      : file_(std::move(file)), bits_(std::move(bits)), on_disk_(on_disk) {}
  Result<void> write_back(std::span<const uint32_t> chunks);
  Result<void> write_bytes(size_t first, size_t last);
  Result<void> write_through(size_t first, size_t last);

  std::unique_ptr<File> file_;
  Buffer bits_;
  OnDisk on_disk_;
};

}  // namespace runnel::cache
