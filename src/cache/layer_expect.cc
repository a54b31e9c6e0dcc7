// Layer: chunks that come another way than through its source, with a boot blob say.
#include <utility>

#include "cache/layer.h"

namespace runnel::cache {

using fetch::Priority;

namespace {

constexpr auto kFetchExpectedTimeout = std::chrono::seconds(60);

}  // namespace

Result<std::vector<uint32_t>> Layer::expect(const std::vector<uint32_t>& chunks) {
  std::vector<uint32_t> expected;
  std::vector<uint32_t> borrowed;
  std::vector<bool> elsewhere;
  elsewhere.reserve(chunks.size());
  for (const uint32_t chunk : chunks) elsewhere.push_back(can_borrow(chunk));
  const auto deadline = workers_.clock.now() + kFetchExpectedTimeout;
  {
    uint64_t bytes = 0;
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < chunks.size(); ++i) {
      const uint32_t chunk = chunks[i];
      if (states_.of(chunk) != State::kAbsent || pending_.contains(chunk)) continue;
      (elsewhere[i] ? borrowed : expected).push_back(chunk);
      bytes += table_.at(chunk).size();
    }
    if (!workers_.budget.has_room_for(bytes)) {
      return fail(Code::kExhausted, "the cache's file system is down to its reserve");
    }
    for (const uint32_t chunk : expected) {
      pending_[chunk].expected = true;
      origins_[chunk] = Origin::kHotPack;
    }
    for (const uint32_t chunk : borrowed) {
      pending_[chunk].deadline = deadline;
      origins_[chunk] = Origin::kAhead;
    }
  }
  fetch_each(borrowed, Priority::kPrefetch, deadline);
  return expected;
}

void Layer::expect_no_more(const std::vector<uint32_t>& chunks) {
  Wanted wanted;
  SteadyTime deadline{};
  Priority priority = Priority::kBackground;
  {
    const std::lock_guard lock(mutex_);
    for (const uint32_t chunk : chunks) {
      const auto at = pending_.find(chunk);
      if (at == pending_.end() || !std::exchange(at->second.expected, false)) continue;
      if (at->second.plain || at->second.fetches > 0) continue;
      if (at->second.waiting.empty()) {
        pending_.erase(at);
        continue;
      }
      wanted.missing.push_back(chunk);
      deadline = std::max(deadline, at->second.deadline);
      priority = std::min(priority, at->second.priority);
    }
  }
  start(wanted, priority, deadline);
}

void Layer::fetch_expected(const std::vector<uint32_t>& chunks) {
  const auto deadline = workers_.clock.now() + kFetchExpectedTimeout;
  std::vector<uint32_t> ahead;
  std::vector<uint32_t> wanted;
  {
    const std::lock_guard lock(mutex_);
    for (const uint32_t chunk : chunks) {
      const auto at = pending_.find(chunk);
      if (at == pending_.end() || !std::exchange(at->second.expected, false)) continue;
      if (at->second.plain || at->second.fetches > 0) continue;
      (at->second.waiting.empty() ? ahead : wanted).push_back(chunk);
      at->second.deadline = std::max(at->second.deadline, deadline);
      origins_[chunk] = Origin::kAhead;
    }
  }
  fetch_each(wanted, Priority::kDemand, deadline);
  fetch_each(ahead, Priority::kPrefetch, deadline);
}

// Whoever brings it has been silent, or is slow, or brings much else before it.
bool Layer::is_overdue(const Pending& pending, SteadyTime now) const {
  return pending.expected && pending.fetches == 0 && !pending.waiting.empty() && !pending.plain &&
         now - pending.asked >= kExpectedWithin;
}

Result<void> Layer::insert(uint32_t chunk, Bytes frame) {
  RUNNEL_CHECK(chunk < table_.size());
  const auto came = workers_.clock.now();
  {
    const std::lock_guard lock(mutex_);
    if (states_.of(chunk) != State::kAbsent) return {};
  }
  RUNNEL_TRY(const auto plain, verify(chunk, frame));
  chunk_came_at_ = workers_.clock.now();
  if (!workers_.budget.admit(plain->size())) {
    return fail(Code::kExhausted, "the cache's file system is down to its reserve");
  }
  {
    const std::lock_guard lock(mutex_);
    if (states_.of(chunk) != State::kAbsent) return {};
    pending_[chunk].arrived = came;  // readers that wait for a fetch of it need not
    origins_[chunk] = Origin::kHotPack;
  }
  if (answer(chunk, plain, Keep::kIfRoom)) write_later(chunk, plain);
  return {};
}

void Layer::insert_later(uint32_t chunk, Buffer frame, std::function<void(Result<void>)> done) {
  workers_.verify.submit([self = at_work(), chunk,
                          kept = std::make_shared<const Buffer>(std::move(frame)),
                          done = std::move(done)] { done(self->insert(chunk, *kept)); });
}

}  // namespace runnel::cache
