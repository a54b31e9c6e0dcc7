// One ranged GET on its way in: checks that the answer is the range that was asked for, and deals
// its bytes out to the pieces. Internal to fetch/.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "fetch/piece.h"
#include "net/client.h"

namespace runnel::fetch {

// Called on the client's thread; read by the fetcher's after the transfer has ended.
class GroupSink final : public net::ResponseSink {
 public:
  // Complete: its data is all there, and nobody but the callee touches the piece from now on.
  using Complete = std::function<void(std::shared_ptr<Piece>)>;

  // `pieces` follow each other without a gap, from the next() of the first to the end() of the
  // last.
  GroupSink(Pieces pieces, Complete complete);

  Result<void> head(const net::ResponseHead& head) override;
  Result<void> data(Bytes bytes) override;

  // When bytes came last, or this object was made. Any thread.
  SteadyTime heard_at() const { return heard_at_; }

  // "bytes=…" of the request.
  std::string range() const;

  // After the end:
  bool has_head() const { return has_head_; }
  // From the making of this object to the head.
  Duration first_byte_after() const { return head_at_ - made_at_; }
  bool is_complete() const { return at_ == pieces_.size(); }
  const Buffer& refusal() const { return refusal_; }

 private:
  Result<void> check_part(const net::ResponseHead& head);
  Result<void> check_whole(const net::ResponseHead& head);

  const Pieces pieces_;
  const Complete complete_;
  const std::string name_;
  const uint64_t start_;
  const uint64_t end_;
  const uint64_t size_;
  size_t at_ = 0;  // the piece that is being filled
  const SteadyTime made_at_ = std::chrono::steady_clock::now();
  SteadyTime head_at_ = made_at_;
  std::atomic<SteadyTime> heard_at_ = made_at_;
  bool has_head_ = false;
  bool refused_ = false;
  uint64_t skip_ = 0;
  Buffer refusal_;
};

}  // namespace runnel::fetch
