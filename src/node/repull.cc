#include "node/repull.h"

#include <algorithm>
#include <utility>
#include <vector>

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

// The image whose configuration has that digest.
class Snapshots final : public ImageSnapshots {
 public:
  Snapshots(const ImageRequest& request, const ContainerdImages& containerd, std::string config)
      : request_(request), containerd_(containerd), config_(std::move(config)) {}

  Result<void> remove(const std::string& id) override {
    return containerd_.remove_snapshot(kSnapshotter, id);
  }
  Result<void> collect_garbage() override {
    return snapshot::ContainerdClient(request_.address).collect_garbage(request_.name_space);
  }
  Result<bool> find(const std::string& id, const std::string& parent) override {
    return containerd_.find_snapshot(kSnapshotter, id, parent);
  }
  Result<void> hold(const std::string& id) override {
    return containerd_.label_content(config_, {{kSnapshotLabel, id}});
  }

 private:
  const ImageRequest& request_;
  const ContainerdImages& containerd_;
  const std::string config_;
};

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
    Snapshots snapshots(request_, containerd_, found_.manifest.config.digest.to_string());
    const auto tell = [this](size_t removed) {
      progress_.layers_here = removed;
      tell_(progress_);
    };
    return exchange_snapshots(chain_, is_unpacked_, snapshots, tell, stop_);
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
