// A blob in memory behind the RangeSource interface, which fails, waits or lies when told to.
//
// It passes the conformance suite (support/range_source_conformance.h), but does not retry and does
// not join: one read, one outcome.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fetch/range_source.h"

namespace runnel::test {

// Any thread may call any method.
class FakeRangeSource final : public fetch::RangeSource {
 public:
  struct Read {
    uint64_t offset = 0;
    uint64_t length = 0;
    fetch::Priority priority = fetch::Priority::kBackground;
  };

  explicit FakeRangeSource(Buffer bytes) : bytes_(std::move(bytes)), thread_([this] { run(); }) {}
  explicit FakeRangeSource(std::string_view text)
      : FakeRangeSource(Buffer(as_bytes(text).begin(), as_bytes(text).end())) {}
  ~FakeRangeSource() override {
    shutdown();
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }

  // What the next `times` reads that come meet; without `times`, all that come until succeed().
  void fail(Error error, int times = kAll) { script({.error = std::move(error)}, times); }
  void corrupt(int times = kAll) { script({.error = {}, .corrupt = true}, times); }
  void delay(Duration duration, int times = kAll) {
    script({.error = {}, .corrupt = false, .delay = duration}, times);
  }
  void succeed() {
    const std::lock_guard lock(mutex_);
    script_.clear();
  }

  // Nothing is answered (but for deadlines) until release(), which answers all.
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  // Until that many reads wait; so that a test knows that they have come.
  void wait_for_waiting(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return pending_.size() >= count; });
  }

  // Until nothing waits any more, and every `done` has returned.
  void wait_until_quiet() {
    std::unique_lock lock(mutex_);
    quiet_.wait(lock, [this] { return pending_.empty() && !calling_; });
  }

  // Answers all with kCancelled, those that come later too; returns when every `done` has.
  void shutdown() {
    std::unique_lock lock(mutex_);
    shut_down_ = true;
    changed_.notify_all();
    if (std::this_thread::get_id() == thread_.get_id()) return;
    quiet_.wait(lock, [this] { return pending_.empty() && !calling_; });
  }

  std::vector<Read> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

  // How far away it says that it is.
  void set_round_trip(Duration duration) {
    const std::lock_guard lock(mutex_);
    round_trip_ = duration;
  }

  uint64_t size() const override { return bytes_.size(); }

  Duration round_trip() const override {
    const std::lock_guard lock(mutex_);
    return round_trip_;
  }

  // Whether it says that others wait for bytes.
  void set_takes_background(bool takes) { takes_background_ = takes; }
  bool takes_background() const override { return takes_background_; }

  // When it says that bytes came last.
  void set_heard_at(SteadyTime time) { heard_at_ = time; }
  SteadyTime heard_at() const override { return heard_at_; }

  void read(uint64_t offset, uint64_t length, fetch::Priority priority, SteadyTime deadline,
            Done done) override {
    const std::lock_guard lock(mutex_);
    reads_.push_back({offset, length, priority});
    Pending pending{.offset = offset, .length = length, .deadline = deadline};
    pending.done = std::move(done);
    pending.step = next_step();
    pending.ready = std::chrono::steady_clock::now() + pending.step.delay;
    pending_.push_back(std::move(pending));
    changed_.notify_all();
  }

 private:
  static constexpr int kAll = -1;

  struct Step {
    std::optional<Error> error;
    bool corrupt = false;
    Duration delay{};
    int times = 0;
  };
  struct Pending {
    uint64_t offset = 0;
    uint64_t length = 0;
    SteadyTime deadline{};
    SteadyTime ready{};
    Step step{};
    Done done{};
  };

  void script(Step step, int times) {
    const std::lock_guard lock(mutex_);
    step.times = times;
    script_.push_back(std::move(step));
  }

  Step next_step() {
    if (script_.empty()) return {};
    Step step = script_.front();
    if (step.times == kAll) return step;
    if (--script_.front().times == 0) script_.pop_front();
    return step;
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopped_) {
      const SteadyTime now = std::chrono::steady_clock::now();
      const auto due = std::ranges::find_if(pending_, [&](const Pending& pending) {
        return shut_down_ || pending.deadline <= now || (!held_ && pending.ready <= now);
      });
      if (due != pending_.end()) {
        finish(due, now, lock);
        continue;
      }
      quiet_.notify_all();
      SteadyTime next = now + std::chrono::hours(1);
      for (const Pending& pending : pending_)
        next = std::min({next, pending.deadline, held_ ? next : pending.ready});
      changed_.wait_until(lock, next);
    }
  }

  void finish(std::deque<Pending>::iterator due, SteadyTime now,
              std::unique_lock<std::mutex>& lock) {
    const Pending pending = std::move(*due);
    pending_.erase(due);
    calling_ = true;
    auto outcome = outcome_of(pending, now);
    lock.unlock();
    pending.done(std::move(outcome));
    lock.lock();
    calling_ = false;
  }

  Result<Buffer> outcome_of(const Pending& pending, SteadyTime now) const {
    if (shut_down_) return runnel::fail(Code::kCancelled, "fake: stopping");
    if (pending.offset > bytes_.size() || pending.length > bytes_.size() - pending.offset)
      return runnel::fail(Code::kInvalid, "fake: no {} bytes at {}", pending.length,
                          pending.offset);
    if (pending.deadline <= now) return runnel::fail(Code::kUnavailable, "fake: not in time");
    if (pending.step.error) return std::unexpected(*pending.step.error);
    const auto from = bytes_.begin() + static_cast<ptrdiff_t>(pending.offset);
    Buffer out(from, from + static_cast<ptrdiff_t>(pending.length));
    if (pending.step.corrupt && !out.empty()) out[out.size() / 2] ^= std::byte{1};
    return out;
  }

  const Buffer bytes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable quiet_;
  std::deque<Step> script_;
  std::deque<Pending> pending_;
  std::vector<Read> reads_;
  Duration round_trip_{};
  std::atomic<SteadyTime> heard_at_{};
  std::atomic<bool> takes_background_ = true;
  bool held_ = false;
  bool shut_down_ = false;
  bool stopped_ = false;
  bool calling_ = false;
  std::thread thread_;
};

}  // namespace runnel::test
