#include "net/opened_body.h"

#include <algorithm>

#include "net/client_loop.h"

namespace runnel::net {

namespace {

constexpr size_t kFull = 256 * 1024;
constexpr size_t kRoomAgain = kFull / 2;

}  // namespace

Result<void> Pipe::head(const ResponseHead& head) {
  std::unique_lock lock(mutex_);
  head_ = head;
  wake(std::move(lock));
  return {};
}

Result<void> Pipe::data(Bytes bytes) {
  std::unique_lock lock(mutex_);
  if (taken_ == data_.size()) {
    data_.clear();
    taken_ = 0;
  } else if (taken_ >= kFull) {
    data_.erase(data_.begin(), data_.begin() + static_cast<ptrdiff_t>(taken_));
    taken_ = 0;
  }
  data_.insert(data_.end(), bytes.begin(), bytes.end());
  wake(std::move(lock));
  return {};
}

bool Pipe::wants_more() {
  const std::lock_guard lock(mutex_);
  full_ = buffered() >= kFull;
  return !full_;
}

void Pipe::finish(Result<ResponseHead> result) {
  std::unique_lock lock(mutex_);
  ended_ = true;
  if (!result) failure_ = std::move(result).error();
  wake(std::move(lock));
}

void Pipe::wake(std::unique_lock<std::mutex> lock) {
  const auto waiting = std::exchange(waiting_, nullptr);
  lock.unlock();
  if (waiting) waiting();
}

// `ready` is called with the mutex held.
template <class Ready>
awaitable<void> Pipe::wait_until(Ready ready) {
  std::function<void(Resume)> start = [this, ready](Resume resume) {
    std::unique_lock lock(mutex_);
    waiting_ = std::move(resume);
    if (ready()) wake(std::move(lock));
  };
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ready()) co_return;
    }
    co_await suspend(start);
  }
}

awaitable<Result<ResponseHead>> Pipe::wait_head() {
  const auto ready = [this] { return head_ || ended_; };
  co_await wait_until(ready);
  const std::lock_guard lock(mutex_);
  if (failure_) co_return std::unexpected(*failure_);
  RUNNEL_CHECK(head_.has_value());
  co_return *head_;
}

awaitable<Result<Pipe::Taken>> Pipe::take(MutableBytes into) {
  const auto ready = [this] { return buffered() > 0 || ended_; };
  co_await wait_until(ready);
  const std::lock_guard lock(mutex_);
  Taken taken;
  taken.bytes = std::min(into.size(), buffered());
  // What came before a failure is good, but a reader that gets it sooner gains nothing.
  if (failure_) co_return std::unexpected(*failure_);
  std::copy_n(data_.begin() + static_cast<ptrdiff_t>(taken_), taken.bytes, into.begin());
  taken_ += taken.bytes;
  taken.has_room = full_ && buffered() <= kRoomAgain;
  if (taken.has_room) full_ = false;
  co_return taken;
}

OpenedBody::~OpenedBody() {
  if (const auto loop = loop_.lock()) loop->cancel(transfer_);
}

awaitable<Result<size_t>> OpenedBody::read(MutableBytes into) {
  RUNNEL_CO_TRY(const auto taken, co_await pipe_->take(into));
  if (taken.has_room) {
    if (const auto loop = loop_.lock()) loop->resume(transfer_);
  }
  co_return taken.bytes;
}

}  // namespace runnel::net
