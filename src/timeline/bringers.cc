#include "timeline/bringers.h"

#include <algorithm>

#include "timeline/in_order.h"

namespace runnel::timeline {

Bringers::Bringers(const std::vector<Request>& requests) {
  for (const auto& request : requests) {
    if (request.what == "boot blob") boot_blob_ = &request;
    if (request.layer == 0 || !request.ranged || request.asked == kNone) continue;
    if (request.layer >= by_layer_.size()) {
      by_layer_.resize(request.layer + 1);
      longest_.resize(request.layer + 1);
    }
    by_layer_[request.layer].push_back(&request);
    longest_[request.layer] =
        std::max(longest_[request.layer], request.last - std::min(request.first, request.last));
  }
  for (auto& list : by_layer_) sort_by(list, [](const Request* request) { return request->first; });
}

// Of those that have the chunk: the first that has ended when its bytes were here, or the last.
const Request* Bringers::of(const Read& read) const {
  if (read.origin == "hot pack") return boot_blob_;
  if (read.layer >= by_layer_.size()) return nullptr;
  const auto& list = by_layer_[read.layer];
  auto at = std::ranges::upper_bound(list, read.blob_offset, {}, &Request::first);
  const Request* found = nullptr;
  const Us arrived = read.arrived == kNone ? read.ready : read.arrived;
  while (at != list.begin()) {
    const auto* request = *--at;
    if (request->first + longest_[read.layer] < read.blob_offset) break;
    const bool has = request->last >= read.blob_offset && request->asked <= arrived &&
                     (request->ended == kNone || request->ended >= read.at);
    if (!has) continue;
    if (found == nullptr || request->asked < found->asked) found = request;
  }
  return found;
}

}  // namespace runnel::timeline
