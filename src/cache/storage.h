// The files of one layer, behind an interface: the real ones, and a disk that loses power
// (tests/support/lossy_storage.h).
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::cache {

// Any thread may call any method; what write() has taken is on disk for good only when a later
// sync() has succeeded, and after an error of sync() it may be lost without another one.
class File {
 public:
  virtual ~File() = default;

  // All of `into`; kInvalid when the file ends before.
  virtual Result<void> read(MutableBytes into, uint64_t offset) const = 0;
  // False when that would wait for the disk.
  virtual bool read_now(MutableBytes into, uint64_t offset) const = 0;
  // Like read(), but what the disk has, whatever is in memory; where that cannot be told, as
  // read(). `offset` and the size are multiples of 4096.
  virtual Result<void> read_from_disk(MutableBytes into, uint64_t offset) const = 0;
  virtual Result<void> write(Bytes bytes, uint64_t offset) = 0;
  virtual Result<void> sync() = 0;
  virtual Result<uint64_t> size() const = 0;
  // New bytes are zeros.
  virtual Result<void> resize(uint64_t size) = 0;
  // Bytes that the kernel has in memory; 0 when it does not say. Does not wait for the disk.
  virtual uint64_t in_page_cache() const = 0;
};

class Storage {
 public:
  virtual ~Storage() = default;

  // Creates the file when it is not there.
  virtual Result<std::unique_ptr<File>> open(const std::string& name) = 0;
  virtual std::string path(const std::string& name) const = 0;
  // Makes durable that the files are there; what is in them is not asked.
  virtual Result<void> sync_names() = 0;
};

// In a directory, which exists, and whose own name need not be durable yet.
std::unique_ptr<Storage> directory_storage(std::string directory);

}  // namespace runnel::cache
