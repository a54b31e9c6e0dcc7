#include "node/snapshot_exchange.h"

#include <ranges>

namespace runnel::node {

namespace {

// From the top; how many. Those that another image stands on stay, and with them what is below.
// Once the topmost has gone, containerd may remove what it stood on by itself at any time: that
// counts.
Result<size_t> remove_unpacked(const std::vector<std::string>& chain, const IsUnpacked& is_unpacked,
                               ImageSnapshots& snapshots,
                               const std::function<void(size_t removed)>& tell) {
  std::vector<std::string> there;
  for (const auto& id : chain | std::views::reverse) {
    RUNNEL_TRY(const bool unpacked, is_unpacked(id));
    if (unpacked) there.push_back(id);  // else it streams, or is nowhere
  }
  size_t count = 0;
  for (const auto& id : there) {
    const auto removed = snapshots.remove(id);
    const bool gone = removed || removed.error().code == Code::kNotFound;
    if (!gone && id == chain.back()) return std::unexpected(removed.error());
    if (!gone) break;
    tell(++count);
  }
  return count;
}

// As an unpacker does it, without a registry.
Result<void> find_again(const std::vector<std::string>& chain, ImageSnapshots& snapshots) {
  std::string parent;
  for (const auto& id : chain) {
    RUNNEL_TRY(const bool there, snapshots.find(id, parent));
    if (!there) return fail(Code::kUnavailable, "the node did not offer {}", id);
    parent = id;
  }
  return snapshots.hold(chain.back());
}

}  // namespace

Result<void> exchange_snapshots(const std::vector<std::string>& chain,
                                const IsUnpacked& is_unpacked, ImageSnapshots& snapshots,
                                const std::function<void(size_t removed)>& tell,
                                const std::stop_token& stop) {
  // What is begun now has a few seconds to end in (ImageJobs::stop).
  if (stop.stop_requested())
    return fail(Code::kCancelled, "the node stops; nothing was changed, repull it again");
  RUNNEL_TRY(const size_t removed, remove_unpacked(chain, is_unpacked, snapshots, tell));
  if (removed == 0) return find_again(chain, snapshots);
  // containerd removes lazily, and would take what is about to go for what it asks for.
  RUNNEL_DO(snapshots.collect_garbage());
  if (auto found = find_again(chain, snapshots); !found) {
    return std::unexpected(found.error().in(
        "its snapshots are removed, and containerd unpacks it anew for the next container"));
  }
  return {};
}

}  // namespace runnel::node
