// Bodies that are too large for memory.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

namespace runnel::net {

using boost::asio::awaitable;

// Bytes that come one after the other, pulled by their reader: no read, no further bytes in memory.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  // Fills at least one byte of `into` (which is not empty), or returns 0 at the end. After an error
  // or the end it is not called again. One read at a time; `into` must live until it has returned.
  virtual awaitable<Result<size_t>> read(MutableBytes into) = 0;
};

// A piece of a file. The server sends it with sendfile(2), never through a buffer of its own; the
// file is read by offset, so one descriptor can serve many responses at once.
struct FileRange {
  FileRange(std::shared_ptr<const UniqueFd> f, uint64_t o, uint64_t l)
      : file(std::move(f)), offset(o), length(l) {}

  std::shared_ptr<const UniqueFd> file;
  uint64_t offset;
  uint64_t length;
};

}  // namespace runnel::net
