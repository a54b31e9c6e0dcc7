// A whole file, mapped for reading: its pages are the kernel's to keep or drop, not this process's
// memory.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel {

// Immutable; any thread may read. The file must not get shorter while it is mapped (SIGBUS), and so
// must belong to us alone. A disk that loses a page later, when the kernel has dropped it, is a
// SIGBUS too; the process that is started after that gets an error from open().
class MappedFile {
 public:
  // Reads it once: what the disk cannot give is an error now. kExhausted when it is larger than
  // `limit` bytes.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path, uint64_t limit);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  Bytes bytes() const { return bytes_; }

  // Until they are read again the pages are no memory of this process, and only in the page cache.
  void let_go() const;

 private:
  explicit MappedFile(Bytes bytes) : bytes_(bytes) {}

  const Bytes bytes_;
};

}  // namespace runnel
