// What the holder does when a worker has ended: starts another at once, after a pause, or not at
// all.
#pragma once

#include <cstdint>
#include <optional>

namespace runnel::engine {

// One thread.
class Restarts {
 public:
  // `has_readers`: somebody waits for a worker from the beginning, also for one that cannot start.
  explicit Restarts(bool has_readers) : goes_on_(has_readers) {}

  // How many milliseconds to wait before the next one. `code` is the exit code of the one that
  // ended, or 128 and the signal that killed it; it has lived so many milliseconds. Nothing when
  // there is to be no next one: it gave up by itself at its start, and none before it did better.
  std::optional<int> after(int code, int64_t lived_ms);

 private:
  int pause() const;

  bool goes_on_;
  int quick_deaths_ = 0;  // in a row
};

}  // namespace runnel::engine
