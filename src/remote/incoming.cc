#include "remote/incoming.h"

#include <algorithm>

namespace runnel::remote {

namespace {

constexpr size_t kMaxWaiting = 2 << 20;
constexpr size_t kMaxRefusalBytes = 64 << 10;
constexpr size_t kMaxRefusalRead = 1 << 20;

}  // namespace

// What the client's thread hands to the reader's. A refusal is kept apart, so that the page of a
// 401 never reaches somebody who reads a blob.
class Incoming::Arrivals final : public net::ResponseSink {
 public:
  Result<void> head(const net::ResponseHead& head) override {
    const std::lock_guard lock(mutex_);
    success_ = head.status >= 200 && head.status < 300;
    if (success_) head_ = head;
    changed_.notify_all();
    return {};
  }

  Result<void> data(Bytes bytes) override {
    const std::lock_guard lock(mutex_);
    if (!success_) return keep_refusal(bytes);
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    changed_.notify_all();
    return {};
  }

  bool wants_more() override {
    const std::lock_guard lock(mutex_);
    paused_ = waiting_.size() >= kMaxWaiting;
    return !paused_;
  }

  void end(Result<net::ResponseHead> outcome) {
    const std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
    changed_.notify_all();
  }

  Result<net::ResponseHead> wait_for_head() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return head_ || outcome_; });
    if (head_) return *head_;
    return *outcome_;
  }

  // Into `taken`, whose memory is used for what comes next. `resume` is set when the transfer has
  // to be told to go on.
  Result<void> read(Buffer& taken, bool& resume) {
    taken.clear();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !waiting_.empty() || outcome_; });
    resume = paused_;
    paused_ = false;
    if (waiting_.empty() && !*outcome_) return std::unexpected(outcome_->error());
    taken.swap(waiting_);
    return {};
  }

  Buffer take_refusal() {
    const std::lock_guard lock(mutex_);
    return std::move(refusal_);
  }
  bool ended() {
    const std::lock_guard lock(mutex_);
    return outcome_.has_value();
  }

 private:
  Result<void> keep_refusal(Bytes bytes) {
    refusal_read_ += bytes.size();
    if (refusal_read_ > kMaxRefusalRead) return fail(Code::kInvalid, "an endless error page");
    const Bytes kept = bytes.first(std::min(kMaxRefusalBytes - refusal_.size(), bytes.size()));
    refusal_.insert(refusal_.end(), kept.begin(), kept.end());
    return {};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool success_ = false;
  bool paused_ = false;
  std::optional<net::ResponseHead> head_;
  std::optional<Result<net::ResponseHead>> outcome_;
  Buffer waiting_;
  Buffer refusal_;
  size_t refusal_read_ = 0;
};

Incoming::Incoming(net::Client& client, net::ClientRequest request)
    : client_(client), arrivals_(std::make_shared<Arrivals>()) {
  transfer_ = client_.start(std::move(request), arrivals_,
                            [arrivals = arrivals_](Result<net::ResponseHead> outcome) {
                              arrivals->end(std::move(outcome));
                            });
}

Incoming::~Incoming() {
  if (!arrivals_->ended()) client_.cancel(transfer_);
}

Result<net::ResponseHead> Incoming::head() {
  return arrivals_->wait_for_head();
}

Buffer Incoming::take_refusal() {
  return arrivals_->take_refusal();
}

Result<Bytes> Incoming::read() {
  bool resume = false;
  auto outcome = arrivals_->read(taken_, resume);
  if (resume) client_.resume(transfer_);
  if (!outcome) return std::unexpected(std::move(outcome).error());
  return Bytes(taken_);
}

}  // namespace runnel::remote
