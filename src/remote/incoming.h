// A response whose body its reader takes at its own pace, on its own thread.
//
// The client's thread must not block, and decoding a layer takes longer than receiving it; so the
// bytes wait here, and the transfer pauses while too many do.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "net/client.h"

namespace runnel::remote {

// One thread uses it.
class Incoming {
 public:
  // Starts the transfer. `client` must outlive this.
  Incoming(net::Client& client, net::ClientRequest request);
  // Cancels the transfer when it has not ended.
  ~Incoming();
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;

  // Waits for the head; for a refusal (a status that is not 2xx) until the end.
  Result<net::ResponseHead> head();
  // The beginning of a refusal's body.
  Buffer take_refusal();

  // The next bytes of a success's body, never empty before the end, empty at the end. They are
  // there until the next call.
  Result<Bytes> read();

 private:
  class Arrivals;

  net::Client& client_;
  const std::shared_ptr<Arrivals> arrivals_;
  Buffer taken_;  // what read() gave; its memory is what the next bytes arrive in
  uint64_t transfer_ = 0;
};

}  // namespace runnel::remote
