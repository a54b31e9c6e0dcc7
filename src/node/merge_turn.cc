#include "node/merge_turn.h"

namespace runnel::node {

namespace {

constexpr auto kPatience = std::chrono::seconds(60);
constexpr auto kLook = std::chrono::milliseconds(250);

}  // namespace

Result<MergeTurn::Held> MergeTurn::wait(const std::function<bool()>& gives_up) {
  Held turn(mutex_, std::defer_lock);
  const auto deadline = clock_.now() + kPatience;
  while (!turn.try_lock_for(kLook)) {
    if (gives_up()) return fail(Code::kCancelled, "the node stops");
    if (clock_.now() >= deadline)
      return fail(Code::kUnavailable, "layers of another image are being merged for too long");
  }
  return turn;
}

}  // namespace runnel::node
