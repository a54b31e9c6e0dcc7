// A response's body in memory. Internal to net/.
#pragma once

#include <string>

#include "net/client.h"

namespace runnel::net {

// kExhausted when it is more than `limit` bytes of what `shown` names.
class BufferSink final : public ResponseSink {
 public:
  BufferSink(size_t limit, std::string shown) : limit_(limit), shown_(std::move(shown)) {}

  Result<void> data(Bytes bytes) override {
    if (bytes.size() > limit_ - body_.size())
      return fail(Code::kExhausted, "{}: the body is larger than {} bytes", shown_, limit_);
    body_.insert(body_.end(), bytes.begin(), bytes.end());
    return {};
  }
  // When the transfer has ended.
  Buffer take() { return std::move(body_); }

 private:
  const size_t limit_;
  const std::string shown_;
  Buffer body_;
};

}  // namespace runnel::net
