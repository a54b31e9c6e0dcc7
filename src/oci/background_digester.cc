#include "oci/background_digester.h"

#include <algorithm>
#include <utility>

namespace runnel::oci {

namespace {

// As much as decoders make at a time.
constexpr size_t kPieceSize = 256 << 10;
constexpr size_t kMaxPieces = 16;

}  // namespace

BackgroundDigester::BackgroundDigester(Algorithm algorithm, WorkerPool* pool)
    : pool_(pool), digester_(algorithm) {}

BackgroundDigester::~BackgroundDigester() {
  std::unique_lock lock(mutex_);
  waiting_.clear();
  changed_.wait(lock, [this] { return !hashing_; });
}

void BackgroundDigester::update(Bytes bytes) {
  if (pool_ == nullptr) return digester_.update(bytes);
  while (!bytes.empty()) {
    if (piece_.capacity() == 0) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !free_.empty() || pieces_ < kMaxPieces; });
      if (free_.empty()) {
        ++pieces_;
      } else {
        piece_ = std::move(free_.back());
        free_.pop_back();
      }
    }
    piece_.reserve(kPieceSize);
    const auto part = bytes.first(std::min(bytes.size(), kPieceSize - piece_.size()));
    piece_.insert(piece_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (piece_.size() == kPieceSize) hand_over();
  }
}

Digest BackgroundDigester::finish() {
  if (!piece_.empty()) hand_over();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !hashing_; });
  return digester_.finish();
}

void BackgroundDigester::hand_over() {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::exchange(piece_, {}));
  if (std::exchange(hashing_, true)) return;
  pool_->submit([this] { hash_pieces(); });
}

// All that there are, one after the other: behind the pool's other tasks each time, this would be
// slower than they.
void BackgroundDigester::hash_pieces() {
  std::unique_lock lock(mutex_);
  while (!waiting_.empty()) {
    auto piece = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    digester_.update(piece);
    piece.clear();
    lock.lock();
    free_.push_back(std::move(piece));
    changed_.notify_one();
  }
  hashing_ = false;
  // Under the lock: whoever waits for this may destroy the condition right after.
  changed_.notify_one();
}

}  // namespace runnel::oci
