#include "cli/operation_wait.h"

#include <algorithm>
#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/streaming_calls.h"

namespace runnel::cli {

namespace {

// How clients of this API have always waited.
constexpr Duration kLonger = std::chrono::seconds(1);
constexpr Duration kLongest = std::chrono::seconds(21);

}  // namespace

Result<OperationState> parse_operation(std::string_view document) {
  boost::json::error_code wrong;
  const auto parsed = boost::json::parse(document, wrong);
  const auto* object = wrong ? nullptr : parsed.if_object();
  OperationState out;
  if (object != nullptr)
    out = {text_of(*object, "status"), text_of(*object, "progress"), text_of(*object, "details")};
  if (out.status.empty())
    return fail(Code::kInvalid, "the registry's answer is no operation: it has no status");
  return out;
}

Duration Pauses::after(const OperationState& state) {
  const auto now = state.status + " " + state.progress;
  next_ = now == seen_ ? std::min(next_ + kLonger, std::max(kLongest, first_)) : first_;
  seen_ = now;
  return next_;
}

Result<OperationState> wait_for_end(const Watch& watch, Duration first_pause) {
  Pauses pauses(first_pause);
  while (true) {
    RUNNEL_TRY(auto state, watch.look());
    watch.changed(state);
    if (!is_ongoing(state.status)) return state;
    watch.pause(pauses.after(state));
  }
}

}  // namespace runnel::cli
