#include "node/repull.h"

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "node/containerd_image.h"
#include "oci/image_config.h"
#include "oci/reference.h"
#include "snapshot/containerd_client.h"
#include "snapshot/containerd_images.h"

namespace runnel::node {

namespace {

using snapshot::ContainerdImages;

constexpr const char* kSnapshotter = "runnel";
constexpr const char* kSnapshotLabel = "containerd.io/gc.ref.snapshot.runnel";

// One call of repull().
class Repull {
 public:
  Repull(const ImageRequest& request, Images& images, const IsUnpacked& is_unpacked,
         const std::function<void(const ImageProgress&)>& progress, const std::stop_token& stop)
      : request_(request),
        images_(images),
        is_unpacked_(is_unpacked),
        tell_(progress),
        stop_(stop),
        containerd_(request.address, request.name_space) {}

  Result<ImageProgress> run() {
    RUNNEL_TRY(found_, find_image(containerd_, request_.image));
    for (const auto& id : oci::chain_ids(found_.diff_ids)) chain_.push_back(id.to_string());
    if (chain_.empty()) return fail(Code::kUnsupported, "it has no layers");
    progress_.layers = chain_.size();
    RUNNEL_TRY(const bool unpacked, is_unpacked_(chain_.back()));
    if (unpacked) RUNNEL_DO(check_unused());
    RUNNEL_DO(check_streams());
    auto done = replace();
    images_.let_go_unless_used(found_.digest);
    if (!done) return std::unexpected(done.error());
    return progress_;
  }

 private:
  // Who stands on the image; containers have snapshots of their own ID.
  Result<void> check_unused() const {
    RUNNEL_TRY(const auto snapshots, containerd_.snapshots(kSnapshotter));
    std::vector<std::string> users;
    for (const auto& each : snapshots) {
      if (each.parent == chain_.back()) users.push_back(each.name);
    }
    if (users.empty()) return check_other_namespaces();
    return fail(Code::kConflict, "it is in use, by {}: stop and remove these first",
                fmt::join(users, ", "));
  }

  // Namespaces share what a snapshotter has: containerd would take theirs for what it asks for.
  Result<void> check_other_namespaces() const {
    RUNNEL_TRY(const auto names, snapshot::ContainerdClient(request_.address).namespaces());
    for (const auto& name : names) {
      if (name == request_.name_space) continue;
      RUNNEL_TRY(const auto theirs,
                 ContainerdImages(request_.address, name).snapshots(kSnapshotter));
      if (std::ranges::find(theirs, chain_.back(), &ContainerdImages::Snapshot::name) ==
          theirs.end()) {
        continue;
      }
      return fail(Code::kConflict,
                  "containerd's namespace {} has it unpacked too, and they share it: remove the "
                  "image there first",
                  name);
    }
    return {};
  }

  Result<void> check_streams() const {
    RUNNEL_TRY(const auto reference, oci::Reference::parse(request_.image));
    const auto verdict = images_.prepare_now({.host = reference.host,
                                              .repository = reference.repository,
                                              .digest = found_.digest,
                                              .media_type = found_.media_type,
                                              .bytes = found_.bytes},
                                             stop_);
    if (verdict.reason == Reason::kStreaming) return {};
    return fail(Code::kConflict, "it would not stream: {}: {}", to_string(verdict.reason),
                verdict.detail);
  }

  Result<void> replace() {
    RUNNEL_TRY(const auto lease, containerd_.lease());
    // What is begun now has a few seconds to end in (ImageJobs::stop).
    if (stop_.stop_requested())
      return fail(Code::kCancelled, "the node stops; nothing was changed, repull it again");
    RUNNEL_DO(remove_snapshots());
    if (progress_.layers_here == 0) return find_again();
    // containerd removes lazily, and would take what is about to go for what it asks for.
    const snapshot::ContainerdClient client(request_.address);
    RUNNEL_DO(client.collect_garbage(request_.name_space));
    if (auto found = find_again(); !found) {
      return std::unexpected(found.error().in(
          "its snapshots are removed, and containerd unpacks it anew for the next container"));
    }
    return {};
  }

  // From the top; those that another image stands on stay, and with them what is below.
  Result<void> remove_snapshots() {
    for (auto id = chain_.rbegin(); id != chain_.rend(); ++id) {
      RUNNEL_TRY(const bool unpacked, is_unpacked_(*id));
      if (!unpacked) continue;  // not there, or it streams
      const auto removed = containerd_.remove_snapshot(kSnapshotter, *id);
      if (!removed && id == chain_.rbegin()) return removed;
      if (!removed) break;
      ++progress_.layers_here;
      tell_(progress_);
    }
    return {};
  }

  // As an unpacker does it, without a registry.
  Result<void> find_again() {
    std::string parent;
    for (const auto& id : chain_) {
      RUNNEL_TRY(const bool there, containerd_.find_snapshot(kSnapshotter, id, parent));
      if (!there) return fail(Code::kUnavailable, "the node did not offer {}", id);
      parent = id;
    }
    const auto config = found_.manifest.config.digest.to_string();
    return containerd_.label_content(config, {{kSnapshotLabel, chain_.back()}});
  }

  const ImageRequest& request_;
  Images& images_;
  const IsUnpacked& is_unpacked_;
  const std::function<void(const ImageProgress&)>& tell_;
  const std::stop_token stop_;
  ContainerdImages containerd_;
  ContainerdImage found_;
  std::vector<std::string> chain_;
  ImageProgress progress_;
};

}  // namespace

Result<ImageProgress> repull(const ImageRequest& request, Images& images,
                             const IsUnpacked& is_unpacked,
                             const std::function<void(const ImageProgress&)>& progress,
                             const std::stop_token& stop) {
  return Repull(request, images, is_unpacked, progress, stop).run();
}

}  // namespace runnel::node
