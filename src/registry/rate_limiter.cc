#include "registry/rate_limiter.h"

#include <algorithm>
#include <chrono>

namespace runnel::registry {

namespace {

using Seconds = std::chrono::duration<double>;

constexpr size_t kMaxBuckets = 20'000;
constexpr double kMinute = 60;

}  // namespace

std::optional<Duration> RateLimiter::take(const std::string& who) {
  if (per_minute_ == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  auto& bucket = filled_locked(who);
  if (const auto wait = wait_locked(bucket)) return wait;
  bucket.left -= 1;
  return std::nullopt;
}

std::optional<Duration> RateLimiter::wait(const std::string& who) {
  if (per_minute_ == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!buckets_.contains(who)) return std::nullopt;
  return wait_locked(filled_locked(who));
}

RateLimiter::Bucket& RateLimiter::filled_locked(const std::string& who) {
  if (buckets_.size() >= kMaxBuckets && !buckets_.contains(who)) make_room_locked();
  const double full = per_minute_;
  const auto now = clock_.now();
  auto& bucket = buckets_.try_emplace(who, Bucket{.left = full, .seen = now}).first->second;
  const double passed = Seconds(now - bucket.seen).count();
  bucket.left = std::min(full, bucket.left + passed * full / kMinute);
  bucket.seen = now;
  return bucket;
}

std::optional<Duration> RateLimiter::wait_locked(const Bucket& bucket) const {
  if (bucket.left >= 1) return std::nullopt;
  return std::chrono::duration_cast<Duration>(Seconds((1 - bucket.left) * kMinute / per_minute_));
}

// Who has not been seen for a minute has a full bucket, as if it were not known. When so many
// come within a minute, all begin anew: memory is what counts then.
void RateLimiter::make_room_locked() {
  const auto before = clock_.now() - std::chrono::minutes(1);
  std::erase_if(buckets_, [&](const auto& entry) { return entry.second.seen <= before; });
  if (buckets_.size() >= kMaxBuckets) buckets_.clear();
}

std::string retry_after(Duration wait) {
  return std::to_string(
      std::max<int64_t>(1, std::chrono::ceil<std::chrono::seconds>(wait).count()));
}

}  // namespace runnel::registry
