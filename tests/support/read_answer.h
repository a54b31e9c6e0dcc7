// Waiting for the answers of a RangeSource.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "fetch/range_source.h"

namespace runnel::test {

// The one answer of a read, waited for.
class ReadAnswer {
 public:
  fetch::RangeSource::Done done() {
    return [state = state_](Result<Buffer> outcome) {
      const std::lock_guard lock(state->mutex);
      state->thread = std::this_thread::get_id();
      ++state->calls;
      state->outcome = std::move(outcome);
      state->came.notify_all();
    };
  }
  // Gives up the test when there is none for a minute.
  Result<Buffer> wait() {
    std::unique_lock lock(state_->mutex);
    if (!state_->came.wait_for(lock, std::chrono::minutes(1),
                               [&] { return state_->outcome.has_value(); })) {
      ADD_FAILURE() << "no answer";
      std::abort();
    }
    return *state_->outcome;
  }
  int calls() const {
    const std::lock_guard lock(state_->mutex);
    return state_->calls;
  }
  std::thread::id thread() const {
    const std::lock_guard lock(state_->mutex);
    return state_->thread;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable came;
    std::optional<Result<Buffer>> outcome;
    std::thread::id thread;
    int calls = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Bytes without a period that a wrong offset could hide in.
inline std::string random_text(size_t size) {
  std::string out(size, '\0');
  uint32_t state = 12345;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

}  // namespace runnel::test
