// An OperationQueue that keeps everything in memory.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "meta/operation_queue.h"

namespace runnel::test {

// May be called from any thread. Several of them on one Data are as several processes.
class MemoryOperationQueue final : public meta::OperationQueue {
 public:
  using Operation = meta::Operation;
  using Status = meta::OperationStatus;

  struct Entry {
    Operation operation;
    std::string owner;
    WallTime claimed_until;
    bool publishing = false;
  };
  struct Data {
    std::mutex mutex;
    std::deque<Entry> entries;  // in the order of their positions
    int64_t last_position = 0;
  };

  // The clock must outlive this.
  MemoryOperationQueue(std::shared_ptr<Data> data, const Clock& clock,
                       meta::MakeOperationId make_id = meta::random_operation_id)
      : data_(std::move(data)), clock_(clock), make_id_(std::move(make_id)) {}

  Result<meta::Enqueued> enqueue(const meta::NewOperation& wanted) override {
    const std::lock_guard lock(data_->mutex);
    for (auto& [operation, owner, until, publishing] : data_->entries) {
      if (operation.repository != wanted.repository || operation.digest != wanted.digest ||
          !meta::is_ongoing(operation.status))
        continue;
      operation.priority = std::max(operation.priority, wanted.priority);
      return meta::Enqueued{.operation = operation, .joined = true};
    }
    Operation made;
    made.position = ++data_->last_position;
    made.id = make_id_();
    made.repository = wanted.repository;
    made.digest = wanted.digest;
    made.priority = wanted.priority;
    made.principal = wanted.principal;
    made.created = clock_.wall();
    data_->entries.push_back({.operation = made, .owner = {}, .claimed_until = {}});
    return meta::Enqueued{.operation = made, .joined = false};
  }

  Result<std::optional<Operation>> operation(std::string_view id) override {
    const std::lock_guard lock(data_->mutex);
    const auto* found = find(id);
    if (found == nullptr) return std::nullopt;
    return found->operation;
  }

  Result<std::optional<Operation>> last_operation(std::string_view repository,
                                                  const oci::Digest& digest) override {
    const std::lock_guard lock(data_->mutex);
    std::optional<Operation> last;
    for (const auto& entry : data_->entries)
      if (entry.operation.repository == repository && entry.operation.digest == digest)
        last = entry.operation;
    return last;
  }

  Result<std::vector<Operation>> operations(const meta::OperationFilter& filter, int64_t before,
                                            size_t limit) override {
    const std::lock_guard lock(data_->mutex);
    std::vector<Operation> found;
    for (auto entry = data_->entries.rbegin(); entry != data_->entries.rend(); ++entry) {
      const auto& each = entry->operation;
      if (each.position >= before || found.size() == limit) continue;
      if (!filter.repository.empty() && each.repository != filter.repository) continue;
      if (!filter.status || *filter.status == each.status) found.push_back(each);
    }
    return found;
  }

  Result<std::optional<Operation>> claim(std::string_view owner, Duration lifetime) override {
    const std::lock_guard lock(data_->mutex);
    const auto now = clock_.wall();
    Entry* next = nullptr;
    for (auto& entry : data_->entries) {
      const bool is_held = entry.claimed_until > now && entry.claimed_until <= now + 2 * lifetime;
      if (!meta::is_ongoing(entry.operation.status) || is_held) continue;
      if (next == nullptr || entry.operation.priority > next->operation.priority) next = &entry;
    }
    if (next == nullptr) return std::nullopt;
    auto& operation = next->operation;
    operation.status = Status::kRunning;
    ++operation.attempts;
    if (operation.started == WallTime()) operation.started = clock_.wall();
    next->owner = owner;
    next->claimed_until = clock_.wall() + lifetime;
    next->publishing = false;
    return operation;
  }

  Result<bool> report(const meta::Claim& claim, unsigned percent, Duration lifetime) override {
    return change(claim, [&](Entry& entry) {
      entry.operation.percent = std::max(entry.operation.percent, std::min(percent, 100u));
      entry.claimed_until = clock_.wall() + lifetime;
    });
  }

  Result<bool> begin_publishing(const meta::Claim& claim, Duration lifetime) override {
    return change(claim, [&](Entry& entry) {
      entry.publishing = true;
      entry.claimed_until = clock_.wall() + lifetime;
    });
  }

  Result<bool> finish(const meta::Claim& claim, const meta::OperationEnd& end) override {
    return change(claim, [&](Entry& entry) {
      auto& operation = entry.operation;
      operation.status = end.status;
      operation.ended = clock_.wall();
      operation.code = end.code;
      operation.message = end.message;
      if (end.status == Status::kSucceeded) operation.percent = 100;
      entry.owner.clear();
      entry.publishing = false;
    });
  }

  Result<bool> release(const meta::Claim& claim) override {
    return change(claim, [&](Entry& entry) {
      entry.operation.status = Status::kNotStarted;
      --entry.operation.attempts;
      entry.owner.clear();
      entry.claimed_until = {};
      entry.publishing = false;
    });
  }

  Result<meta::CancelOutcome> cancel(std::string_view id) override {
    const std::lock_guard lock(data_->mutex);
    auto* found = find(id);
    if (found == nullptr) return meta::CancelOutcome::kAbsent;
    if (!meta::is_ongoing(found->operation.status)) return meta::CancelOutcome::kEnded;
    if (found->publishing && found->claimed_until > clock_.wall())
      return meta::CancelOutcome::kPublishing;
    found->operation.status = Status::kCanceled;
    found->operation.ended = clock_.wall();
    found->owner.clear();
    found->publishing = false;
    return meta::CancelOutcome::kCanceled;
  }

  Result<size_t> forget_operations(WallTime before, size_t limit) override {
    const std::lock_guard lock(data_->mutex);
    size_t removed = 0;
    std::erase_if(data_->entries, [&](const Entry& entry) {
      const auto& each = entry.operation;
      const bool goes = !meta::is_ongoing(each.status) && each.ended < before && removed < limit;
      removed += goes ? 1 : 0;
      return goes;
    });
    return removed;
  }

 private:
  // With the mutex held.
  Entry* find(std::string_view id) {
    const auto found = std::ranges::find_if(
        data_->entries, [id](const Entry& entry) { return entry.operation.id == id; });
    return found == data_->entries.end() ? nullptr : &*found;
  }

  template <class Change>
  bool change(const meta::Claim& claim, const Change& apply) {
    const std::lock_guard lock(data_->mutex);
    auto* found = find(claim.operation);
    if (found == nullptr || found->operation.status != Status::kRunning ||
        found->owner != claim.owner)
      return false;
    apply(*found);
    return true;
  }

  const std::shared_ptr<Data> data_;
  const Clock& clock_;
  const meta::MakeOperationId make_id_;
};

}  // namespace runnel::test
