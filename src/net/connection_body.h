// The body of the request that a connection is serving.
#pragma once

#include "net/connection.h"

namespace runnel::net {

// Reads from the connection, which outlives it.
class Connection::Body final : public RequestBody {
 public:
  explicit Body(Connection& connection);

  awaitable<Result<size_t>> read(MutableBytes into) override;
  std::optional<uint64_t> content_length() const override;

  bool finished() const { return finished_; }
  // The peer may never send the rest: it has not been told to.
  bool withheld() const { return continue_due_; }
  bool failed() const { return failed_; }
  bool chunked() const { return chunked_; }
  uint64_t remaining() const { return remaining_; }

 private:
  awaitable<Result<size_t>> attempt(MutableBytes into);
  awaitable<Result<void>> send_continue();
  awaitable<Result<size_t>> read_plain(MutableBytes into);
  awaitable<Result<size_t>> read_chunked(MutableBytes into);

  Connection& connection_;
  const bool chunked_;
  const uint64_t length_;
  uint64_t remaining_;
  bool finished_;
  bool continue_due_;
  bool failed_ = false;
};

}  // namespace runnel::net
