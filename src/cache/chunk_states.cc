#include "cache/chunk_states.h"

#include <utility>

namespace runnel::cache {

void ChunkStates::found(uint32_t chunk, bool trusted) {
  RUNNEL_CHECK(states_[chunk] == State::kAbsent);
  states_[chunk] = trusted ? State::kDurable : State::kSuspect;
  ++(trusted ? durable_ : suspects_);
  if (trusted) present_bytes_ += table_.at(chunk).size();
}

void ChunkStates::written(uint32_t chunk) {
  if (states_[chunk] != State::kAbsent) drop(chunk);
  states_[chunk] = State::kWritten;
  present_bytes_ += table_.at(chunk).size();
  unsynced_.push_back(chunk);
}

void ChunkStates::checked(uint32_t chunk) {
  if (states_[chunk] != State::kSuspect) return;
  states_[chunk] = State::kWritten;
  present_bytes_ += table_.at(chunk).size();
  --suspects_;
  unsynced_.push_back(chunk);
}

void ChunkStates::drop(uint32_t chunk) {
  State& state = states_[chunk];
  if (state == State::kAbsent) return;
  if (state == State::kSuspect) {
    --suspects_;
  } else {
    present_bytes_ -= table_.at(chunk).size();
  }
  if (state == State::kDurable) --durable_;
  untrue_.push_back(chunk);
  state = State::kAbsent;
}

ChunkStates::Round ChunkStates::begin_sync() {
  Round round{.untrue = std::exchange(untrue_, {}), .data = {}};
  for (const uint32_t chunk : std::exchange(unsynced_, {})) {
    if (states_[chunk] != State::kWritten) continue;
    states_[chunk] = State::kSyncing;
    round.data.push_back(chunk);
  }
  return round;
}

void ChunkStates::put_back(const Round& round) {
  untrue_.insert(untrue_.end(), round.untrue.begin(), round.untrue.end());
  for (const uint32_t chunk : round.data) {
    if (states_[chunk] != State::kSyncing) continue;
    states_[chunk] = State::kWritten;
    unsynced_.push_back(chunk);
  }
}

std::vector<uint32_t> ChunkStates::synced(const Round& round) {
  std::vector<uint32_t> durable;
  for (const uint32_t chunk : round.data) {
    if (states_[chunk] != State::kSyncing) continue;
    states_[chunk] = State::kDurable;
    ++durable_;
    durable.push_back(chunk);
  }
  return durable;
}

std::vector<uint32_t> ChunkStates::lost(const Round& round) {
  std::vector<uint32_t> gone;
  const auto lose = [&](uint32_t chunk) {
    const State state = states_[chunk];
    if (state == State::kAbsent || state == State::kDurable) return;
    drop(chunk);
    gone.push_back(chunk);
  };
  for (const uint32_t chunk : round.data) lose(chunk);
  for (const uint32_t chunk : std::exchange(unsynced_, {})) lose(chunk);
  for (uint32_t chunk = 0; suspects_ > 0; ++chunk) {
    if (states_[chunk] == State::kSuspect) lose(chunk);
  }
  return gone;
}

}  // namespace runnel::cache
