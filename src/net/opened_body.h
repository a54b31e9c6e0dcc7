// Between the client's thread, which brings a response, and the coroutine that reads it: a small
// buffer that stops the first when the second is slow.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "net/async.h"
#include "net/client.h"

namespace runnel::net {

class ClientLoop;

// The sink of one opened transfer. Any thread may call any method; one coroutine waits at a time.
class Pipe final : public ResponseSink {
 public:
  // The client's side:
  Result<void> head(const ResponseHead& head) override;
  Result<void> data(Bytes bytes) override;
  bool wants_more() override;
  void finish(Result<ResponseHead> result);

  // The reader's side:
  awaitable<Result<ResponseHead>> wait_head();
  struct Taken {
    size_t bytes = 0;
    bool has_room = false;  // again, after having been full
  };
  awaitable<Result<Taken>> take(MutableBytes into);

 private:
  template <class Ready>
  awaitable<void> wait_until(Ready ready);
  void wake(std::unique_lock<std::mutex> lock);
  size_t buffered() const { return data_.size() - taken_; }

  std::mutex mutex_;
  Resume waiting_;
  std::optional<ResponseHead> head_;
  Buffer data_;  // from taken_ on
  size_t taken_ = 0;
  bool full_ = false;
  bool ended_ = false;
  std::optional<Error> failure_;
};

// Cancels its transfer when it is destroyed.
class OpenedBody final : public BodyStream {
 public:
  OpenedBody(std::weak_ptr<ClientLoop> loop, uint64_t transfer, std::shared_ptr<Pipe> pipe)
      : loop_(std::move(loop)), transfer_(transfer), pipe_(std::move(pipe)) {}
  ~OpenedBody() override;

  awaitable<Result<size_t>> read(MutableBytes into) override;

 private:
  const std::weak_ptr<ClientLoop> loop_;
  const uint64_t transfer_;
  const std::shared_ptr<Pipe> pipe_;
};

}  // namespace runnel::net
