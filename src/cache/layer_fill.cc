// Layer: the background fill.
#include "cache/layer.h"

namespace runnel::cache {

using fetch::Priority;

namespace {

constexpr unsigned kFillsInFlight = 2;
constexpr unsigned kHurriedFillsInFlight = 8;
// A start misses less of a layer than a third; who misses more reads all of it, mostly.
constexpr uint64_t kMissedPart = 3;
constexpr auto kFillTimeout = std::chrono::seconds(60);

}  // namespace

// Chunks that were asked for in one go, and share requests.
struct Layer::FillRun {
  std::atomic<size_t> left;
  std::atomic<bool> good = true;
};

void Layer::fill(bool enabled) {
  unsigned more = 0;
  {
    const std::lock_guard lock(mutex_);
    filling_ = enabled || hurried_;
    if (may_fill_locked()) more = fills_allowed_locked() - fills_in_flight_;
  }
  while (more-- > 0) fill_next();
}

void Layer::hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurried_ = true;
    refusals_.end();  // the time that there is may be less than the rest
  }
  fill(true);
}

bool Layer::is_hurried_locked() const {
  return hurried_ || missed_bytes_ >= size() / kMissedPart;
}

unsigned Layer::fills_allowed_locked() const {
  return is_hurried_locked() ? kHurriedFillsInFlight : kFillsInFlight;
}

bool Layer::may_fill_locked() const {
  const auto now = workers_.clock.now();
  return filling_ && fills_in_flight_ < fills_allowed_locked() && !keeps_much() &&
         (is_hurried_locked() || source_->takes_background()) && now >= fill_after_ &&
         !refusals_.rests(now) && workers_.budget.may_fill();
}

// One chunk of the run.
void Layer::fill_arrived(FillRun& run, bool good) {
  if (!good) run.good = false;
  if (--run.left > 0) return;
  {
    const std::lock_guard lock(mutex_);
    --fills_in_flight_;
    if (!run.good) return;
  }
  fill_next();
}

// Starts one background run at the next chunks that nobody has or is at, and hashes the suspects on
// the way there.
void Layer::fill_next() {
  const auto deadline = workers_.clock.now() + kFillTimeout;
  Run run{};
  Wanted wanted;
  bool found = false;
  Priority priority = Priority::kBackground;
  {
    const std::lock_guard lock(mutex_);
    if (states_.all_durable() || !may_fill_locked()) return;
    if (is_hurried_locked()) priority = Priority::kPrefetch;
    const auto idle = [&](uint32_t chunk, State state) {
      return states_.of(chunk) == state && !pending_.contains(chunk);
    };
    for (size_t looked = 0; looked < states_.size() && !found; ++looked) {
      if (fill_cursor_ >= states_.size()) fill_cursor_ = 0;
      const uint32_t chunk = fill_cursor_++;
      found = idle(chunk, State::kAbsent);
      if (found) run = {.first = chunk, .last = chunk};
      if (idle(chunk, State::kSuspect)) wanted.unchecked.push_back(chunk);
      if (found || wanted.unchecked.size() >= kMaxRunChunks) break;
    }
    while (found && fill_cursor_ < states_.size() && run.last - run.first + 1 < kMaxRunChunks &&
           idle(fill_cursor_, State::kAbsent)) {
      run.last = fill_cursor_++;
    }
    for (const uint32_t chunk : wanted.unchecked) pending_[chunk].deadline = deadline;
    for (uint32_t chunk = run.first; found && chunk <= run.last; ++chunk) {
      pending_[chunk].deadline = deadline;
      origins_[chunk] = Origin::kFill;
    }
    if (found) ++fills_in_flight_;
  }
  start(wanted, priority, deadline);
  if (!found) return;
  // One by one: whoever comes to want one of them joins, and has it when its own bytes are here.
  std::vector<uint32_t> chunks;
  for (uint32_t chunk = run.first; chunk <= run.last; ++chunk) chunks.push_back(chunk);
  fetch_each(chunks, priority, deadline, std::make_shared<FillRun>(chunks.size()));
}

}  // namespace runnel::cache
