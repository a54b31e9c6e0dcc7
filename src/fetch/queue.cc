#include "fetch/queue.h"

#include <algorithm>

namespace runnel::fetch {

namespace {

std::map<uint64_t, std::shared_ptr<Piece>>& ready_of(const Piece& piece) {
  return piece.blob->lane->ready[static_cast<size_t>(piece.priority)];
}

}  // namespace

std::shared_ptr<Piece> Queue::add(const std::shared_ptr<Blob>& blob, uint64_t offset,
                                  uint64_t length, Priority priority, Waiter waiter, bool& joined) {
  auto& slot = blob->pieces[{offset, length}];
  joined = slot != nullptr;
  if (joined) {
    slot->waiters.push_back(std::move(waiter));
    if (priority < slot->priority) raise(slot, priority);
    return slot;
  }
  slot = std::make_shared<Piece>();
  slot->blob = blob;
  slot->offset = offset;
  slot->length = length;
  slot->priority = priority;
  slot->order = next_order_++;
  slot->waiters.push_back(std::move(waiter));
  put_back(slot);
  return slot;
}

void Queue::raise(const std::shared_ptr<Piece>& piece, Priority priority) {
  const bool ready = piece->state == Piece::State::kReady;
  if (ready) ready_of(*piece).erase(piece->order);
  piece->priority = priority;
  if (ready) ready_of(*piece).emplace(piece->order, piece);
}

void Queue::put_back(const std::shared_ptr<Piece>& piece) {
  leave(piece);
  piece->state = Piece::State::kReady;
  ready_of(*piece).emplace(piece->order, piece);
}

void Queue::put_back(const std::shared_ptr<Piece>& piece, SteadyTime not_before) {
  leave(piece);
  piece->state = Piece::State::kDelayed;
  piece->not_before = not_before;
  delayed_.emplace(not_before, piece);
}

void Queue::leave(const std::shared_ptr<Piece>& piece) {
  if (piece->state == Piece::State::kReady) ready_of(*piece).erase(piece->order);
  if (piece->state == Piece::State::kDelayed) {
    const auto [first, last] = delayed_.equal_range(piece->not_before);
    const auto found =
        std::find_if(first, last, [&](const auto& entry) { return entry.second == piece; });
    if (found != last) delayed_.erase(found);
  }
  piece->state = Piece::State::kGone;
}

void Queue::remove(const std::shared_ptr<Piece>& piece) {
  leave(piece);
  auto& pieces = piece->blob->pieces;
  const auto found = pieces.find({piece->offset, piece->length});
  if (found != pieces.end() && found->second == piece) pieces.erase(found);
}

bool Queue::can_send(const Lane& lane, SteadyTime now) {
  return !lane.awaits_token && !lane.awaits_endpoint && lane.host->paused_until <= now;
}

Pieces Queue::take(Priority priority, SteadyTime now, uint64_t max_bytes) {
  const auto index = static_cast<size_t>(priority);
  const Lane* best = nullptr;
  for (const auto& lane : lanes_) {
    if (lane->ready[index].empty() || !can_send(*lane, now)) continue;
    const bool earlier =
        best == nullptr || lane->ready[index].begin()->first < best->ready[index].begin()->first;
    if (earlier) best = lane.get();
  }
  if (best == nullptr) return {};
  Pieces taken = with_neighbours(best->ready[index].begin()->second, max_bytes);
  for (const auto& piece : taken) {
    leave(piece);
    piece->state = Piece::State::kInFlight;
    piece->data_before = piece->data.size();
  }
  return taken;
}

bool Queue::has_ready(Priority priority, SteadyTime now) const {
  return std::ranges::any_of(lanes_, [&](const auto& lane) {
    return !lane->ready[static_cast<size_t>(priority)].empty() && can_send(*lane, now);
  });
}

// Only a group's first piece may have its front already: behind a later one's there would be bytes
// that are not needed.
Pieces Queue::with_neighbours(const std::shared_ptr<Piece>& first, uint64_t max_bytes) const {
  const auto fits = [&](const Piece& piece) {
    return piece.state == Piece::State::kReady && piece.priority == first->priority;
  };
  const auto& pieces = first->blob->pieces;
  Pieces taken{first};
  uint64_t bytes = first->end() - first->next();

  for (uint64_t end = first->end();;) {
    const auto after = pieces.lower_bound({end, 0});
    if (after == pieces.end() || after->second->offset != end) break;
    const Piece& piece = *after->second;
    if (!fits(piece) || !piece.data.empty() || bytes + piece.length > max_bytes) break;
    bytes += piece.length;
    end = piece.end();
    taken.push_back(after->second);
  }
  auto at = pieces.find({first->offset, first->length});
  while (taken.front()->data.empty() && at != pieces.begin()) {
    --at;
    const Piece& piece = *at->second;
    if (piece.end() != taken.front()->offset || !fits(piece)) break;
    const uint64_t missing = piece.end() - piece.next();
    if (bytes + missing > max_bytes) break;
    bytes += missing;
    taken.insert(taken.begin(), at->second);
  }
  return taken;
}

void Queue::wake(SteadyTime now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const auto piece = delayed_.begin()->second;  // a copy: putting back erases the entry
    put_back(piece);
  }
}

SteadyTime Queue::next_change(SteadyTime now) const {
  SteadyTime next = delayed_.empty() ? SteadyTime::max() : delayed_.begin()->first;
  for (const auto& lane : lanes_) {
    const bool waits =
        std::ranges::any_of(lane->ready, [](const auto& ready) { return !ready.empty(); });
    if (waits && lane->host->paused_until > now) next = std::min(next, lane->host->paused_until);
  }
  return next;
}

Pieces Queue::waiting(const Lane& lane) const {
  Pieces out;
  for (const auto& ready : lane.ready)
    for (const auto& [order, piece] : ready) out.push_back(piece);
  for (const auto& [time, piece] : delayed_)
    if (piece->blob->lane.get() == &lane) out.push_back(piece);
  return out;
}

Pieces Queue::all() const {
  Pieces out;
  for (const auto& lane : lanes_)
    for (const auto& ready : lane->ready)
      for (const auto& [order, piece] : ready) out.push_back(piece);
  for (const auto& [time, piece] : delayed_) out.push_back(piece);
  return out;
}

uint64_t Queue::count(Priority priority) const {
  uint64_t count = 0;
  for (const auto& lane : lanes_) count += lane->ready[static_cast<size_t>(priority)].size();
  for (const auto& [time, piece] : delayed_) count += piece->priority == priority ? 1 : 0;
  return count;
}

}  // namespace runnel::fetch
