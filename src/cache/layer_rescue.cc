// Layer: chunks that the source cannot give, made from the original layer.
#include <algorithm>

#include "base/log.h"
#include "cache/layer.h"
#include "codec/sha256.h"

namespace runnel::cache {

using fetch::Priority;

namespace {

// The source is asked again for what is lost: so often while nothing comes of the original, and so
// often while it does, whose chunk may be the last one.
constexpr Duration kRetryLost = std::chrono::seconds(2);
constexpr Duration kRetryLostWhileRestored = std::chrono::seconds(10);

}  // namespace

void Layer::add_original(const Original& original) {
  const std::lock_guard lock(mutex_);
  rescue_.add(original);
}

void Layer::credentials_changed() {
  const std::lock_guard lock(mutex_);
  rescue_.credentials_changed();
  refusals_.end();
}

// The source refuses the chunk, or gives it wrong. It waits for the original, if there is one, and
// for the source itself, as long as there is time: what is gone may be pushed again. But not for
// credentials that neither of the two was given a moment ago.
void Layer::lose(uint32_t chunk, const Error& error) {
  const auto now = workers_.clock.now();
  bool waits = false;
  std::string why = error.message;
  {
    const std::lock_guard lock(mutex_);
    const auto at = pending_.find(chunk);
    if (at == pending_.end() || at->second.plain || at->second.fetches > 0) return;
    Pending& pending = at->second;
    refusals_.refused(now);
    rescue_.want(Rescue::Cause::kLoss, !pending.waiting.empty());
    pending.denied = error.code == Code::kDenied;
    const bool refused = pending.denied && rescue_.denied() && rescue_.rests(now);
    waits = rescue_.possible() && !refused && !pending.waiting.empty() && pending.deadline > now;
    pending.lost = waits;
    pending.lost_at = now;
    pending.why_lost = why;
    if (!rescue_.error().empty()) why += "; " + rescue_.error();
  }
  if (!waits) give_up(chunk, Error(error.code, why));
  begin_rescue(now);
}

// A source that stalls, or answers 500 for ever, is not waited for until it is too late for
// anything else: a quarter of a reader's time has to be enough for some sign of life, half for its
// chunk.
void Layer::watch_silence_locked(SteadyTime now) {
  if (!rescue_.possible() || rescue_.running()) return;
  for (const uint32_t chunk : awaited_) {
    const Pending& pending = pending_.at(chunk);
    if (pending.fetches == 0 || pending.deadline <= now) continue;
    const auto patience = (pending.deadline - pending.asked) / 4;
    const auto waited = now - pending.asked;
    const bool silent = now - rescue_.source_worked_at() > patience;
    if (waited > 2 * patience || (waited > patience && silent)) {
      rescue_.want(Rescue::Cause::kSilence, true);
      return;
    }
  }
}

// Asks the source again for what an attempt at the original has left, and for what waits while the
// original is given a rest, or gives nothing, or takes long: the fault of the source may be over in
// a second. And for what was to come another way and does not.
void Layer::fetch_again(SteadyTime now) {
  Wanted wanted;
  SteadyTime deadline{};
  Priority priority = Priority::kBackground;
  {
    const std::lock_guard lock(mutex_);
    const bool comes = rescue_.running() && now - original_heard_at_.load() < kRetryLost;
    const auto patience = comes ? kRetryLostWhileRestored : kRetryLost;
    for (const uint32_t chunk : awaited_) {
      Pending& pending = pending_.at(chunk);
      if (pending.lost && now - pending.lost_at >= patience) {
        pending.lost = false;
        pending.retry = true;
      }
      const bool overdue = is_overdue(pending, now);
      if (overdue) pending.expected = false;
      if (!std::exchange(pending.retry, false) && !overdue) continue;
      wanted.missing.push_back(chunk);
      deadline = std::max(deadline, pending.deadline);
      priority = std::min(priority, pending.priority);
    }
  }
  start(wanted, priority, deadline);
}

void Layer::begin_rescue(SteadyTime now) {
  std::string registry;
  {
    const std::lock_guard lock(mutex_);
    if (!rescue_.begin(now)) return;
    ++stats_.rescues;
    registry = rescue_.registry();
  }
  asked_at_ = now;
  workers_.rescue.submit(
      {.registry = std::move(registry),
       .deadline = [self = shared_from_this()] { return self->earliest_deadline(); },
       .run = [self = shared_from_this()] { self->rescue(); }});
}

// Of the reads that wait for a chunk.
std::optional<SteadyTime> Layer::earliest_deadline() const {
  std::optional<SteadyTime> earliest;
  const std::lock_guard lock(mutex_);
  for (const uint32_t chunk : awaited_) {
    for (const auto& read : pending_.at(chunk).waiting) {
      if (read->ended) continue;
      earliest = std::min(earliest.value_or(SteadyTime::max()), read->deadline);
    }
  }
  return earliest;
}

void Layer::rescue() {
  std::vector<Original> originals;
  {
    const std::lock_guard lock(mutex_);
    originals = rescue_.originals();
  }
  const auto restore = [this](const Original& original) {
    return restore_from(
        original, table_, workers_.clock,
        [this](uint32_t chunk, const Buffer& plain) { return restored(chunk, plain); },
        [this](size_t bytes) {
          original_heard_at_ = workers_.clock.now();
          const std::lock_guard lock(mutex_);
          stats_.bytes_fetched += bytes;
        });
  };
  Result<void> outcome;
  bool denied = true;
  for (const auto& original : originals) {
    log::warning(about(), "the layer's blob cannot be read; making it from layer {} of {}",
                 original.digest, original.name);
    outcome = restore(original);
    // Readers have their error at once when this is refused too, and one of its many requests may
    // have been refused by mistake.
    if (!outcome && outcome.error().code == Code::kDenied) outcome = restore(original);
    if (outcome || outcome.error().code == Code::kCancelled) break;
    log::warning(about(), "{}", outcome.error().message);
    denied = denied && outcome.error().code == Code::kDenied;
  }
  if (!outcome && outcome.error().code == Code::kDenied && !denied)
    outcome = fail(Code::kUnavailable, "{}", outcome.error().message);
  rescue_ended(outcome);
}

// On a thread that may wait for the disk, so that the download goes no faster than it.
Result<void> Layer::restored(uint32_t chunk, Bytes bytes) {
  chunk_came_at_ = workers_.clock.now();
  {
    const std::lock_guard lock(mutex_);
    if (rescue_.pointless()) return fail(Code::kCancelled, "the layer's blob can be read again");
  }
  if (!is_wanted(chunk, bytes)) return {};
  const auto plain = std::make_shared<const ChunkBytes>(bytes);
  // It waits for the disk itself, and what is not kept would take the whole download again.
  if (answer(chunk, plain, Keep::kAlways)) write(chunk, plain->all());
  return {};
}

// Whether the chunk is not here yet. True: it is pending.
bool Layer::is_wanted(uint32_t chunk, Bytes plain) {
  bool suspect = false;
  {
    const std::lock_guard lock(mutex_);
    suspect = states_.of(chunk) == State::kSuspect && !pending_.contains(chunk);
  }
  Buffer kept(suspect ? plain.size() : 0);
  const bool good = suspect && device_->read(kept, table_.at(chunk).device_offset()) &&
                    std::ranges::equal(kept, plain);

  const std::lock_guard lock(mutex_);
  if (suspect && !pending_.contains(chunk)) {
    if (good) {
      states_.checked(chunk);
    } else if (states_.of(chunk) == State::kSuspect) {
      drop_locked(chunk);
    }
  }
  if (states_.of(chunk) != State::kAbsent) return false;
  const auto asked = pending_.find(chunk);
  const bool waited_for = asked != pending_.end() && !asked->second.waiting.empty();
  if (!waited_for && !workers_.budget.may_fill()) return false;
  Pending& pending = pending_[chunk];
  if (pending.plain) return false;
  pending.lost = false;
  pending.retry = false;
  origins_[chunk] = Origin::kOriginal;
  stats_.bytes_restored += plain.size();
  return true;
}

// What waits for it asks the source again; what the source had refused as well has its error now.
void Layer::rescue_ended(const Result<void>& outcome) {
  std::vector<uint32_t> refused;
  std::string words;
  {
    const std::lock_guard lock(mutex_);
    rescue_.ended(outcome, workers_.clock.now());
    stats_.rescue_error = words = rescue_.error();
    for (auto& [chunk, pending] : pending_) {
      if (!std::exchange(pending.lost, false)) continue;
      if (rescue_.denied() && pending.denied) {
        refused.push_back(chunk);
      } else {
        pending.retry = true;
      }
    }
  }
  const Error error(Code::kDenied,
                    "the registry lets nobody read it whom this node knows; " + words);
  for (const uint32_t chunk : refused) give_up(chunk, error);
  if (outcome) log::info(about(), "all chunks were made from the original layer");
}

}  // namespace runnel::cache
