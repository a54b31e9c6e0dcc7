// Waits for the end of a conversion.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::cli {

// What an operation's document says that matters here.
struct OperationState {
  std::string status;
  std::string progress;  // "8%"
  std::string details;   // of a Failed one "CODE: message"
};

// Reads the state of an operation.
Result<OperationState> parse_operation(std::string_view document);

// How long to pause before the next look: `first` after anything changed, a second longer each time
// that nothing did, at most 21 seconds (or `first`, if that is more).
class Pauses {
 public:
  explicit Pauses(Duration first) : first_(first), next_(first) {}

  Duration after(const OperationState& state);

 private:
  const Duration first_;
  Duration next_;
  std::string seen_;
};

struct Watch {
  std::function<Result<OperationState>()> look;
  std::function<void(const OperationState&)> changed;  // what a look has shown
  std::function<void(Duration)> pause;
};

// The state in which it has ended. There is no time limit: the registry says when it gives up.
Result<OperationState> wait_for_end(const Watch& watch, Duration first_pause);

}  // namespace runnel::cli
