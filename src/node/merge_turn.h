// Whose turn it is to merge trees of layers (prefix_merge.h). A merge takes much memory and may
// wait for the network: one is made at a time, and one image's is not all that others wait for.
#pragma once

#include <functional>
#include <mutex>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::node {

// Any thread may call any method.
class MergeTurn {
 public:
  using Held = std::unique_lock<std::timed_mutex>;

  // `clock` must outlive this.
  explicit MergeTurn(const Clock& clock) : clock_(clock) {}

  // Waits for the turn, which lasts as long as what it returns. kUnavailable after a minute;
  // kCancelled when `gives_up`, which is asked every now and then while it waits.
  Result<Held> wait(const std::function<bool()>& gives_up);

 private:
  const Clock& clock_;
  std::timed_mutex mutex_;
};

}  // namespace runnel::node
