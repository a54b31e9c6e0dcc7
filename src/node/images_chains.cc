// Images: what the snapshotter asks of a chain ID: whether it streams, where it is mounted, what it
// takes. A chain that is a prefix of an image is merged from the layers' trees for that.
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "convert/find_artifact.h"
#include "node/images.h"
#include "node/prefix_merge.h"
#include "oci/document.h"
#include "oci/reference.h"

namespace runnel::node {

namespace {

constexpr size_t kMostFailedLookUps = 256;
constexpr auto kMergeTime = std::chrono::minutes(5);  // for all that a merge reads

constexpr const char* kImageRefLabels[] = {
    "containerd.io/snapshot/cri.image-ref",
    "containerd.io/snapshot/remote/stargz.reference",
};

std::unexpected<Error> no_such_chain(const std::string& chain_id) {
  return fail(Code::kNotFound, "no streamed image has the chain {}", chain_id);
}

std::string tree_path_in(const StreamedImage& image, const oci::Digest& layer) {
  return fmt::format("{}/{}.tree", image.directory, layer.hex());
}

}  // namespace

// Whether all of the image was found to be unpacked by the pull that goes on now, or just before.
bool Images::is_pulled_though_unpacked_locked(const Image& image) const {
  return !image.preparing && image.verdict.reason == Reason::kAlreadyUnpacked &&
         !image.manifest.config.digest.empty() &&  // or nobody has pulled it since this worker runs
         clock_.now() - image.decided <= options_.offer_timeout;
}

// Somebody asks for a layer of an image of which all is unpacked: in another of containerd's
// namespaces, or its snapshots were removed. So it may stream after all. Not whatever was pulled
// some day on the same base: nobody asks for these. `begun` are those that are not begun again, and
// then those that were begun, too.
void Images::prepare_after_all_locked(const std::string& chain_id, std::set<oci::Digest>& begun) {
  for (const auto& [image, layers] : by_chain_.find(chain_id)) {
    if (is_pulled_though_unpacked_locked(*image) && begun.insert(image->subject).second)
      begin_locked(image, Prepare::kAlways);
  }
}

std::optional<Images::Place> Images::find_locked(const std::string& chain_id) const {
  std::optional<Place> place;
  for (const auto& [image, layers] : by_chain_.find(chain_id)) {
    if (!image->streamed) continue;
    place = Place{.image = image->streamed, .layers = layers};
    if (layers == image->chain_ids.size()) break;  // a whole image needs no merging
  }
  return place;
}

Result<Images::Place> Images::find(const std::string& chain_id) const {
  const std::lock_guard lock(mutex_);
  auto place = find_locked(chain_id);
  if (!place) return no_such_chain(chain_id);
  return *std::move(place);
}

// Whether an image under preparation has this chain, or might, or `reference`, which the client
// named, is being looked up. A registry that keeps its image's configuration back holds up pulls of
// other images no longer than one of its own.
bool Images::may_come_locked(const std::string& chain_id, const std::string& reference) const {
  if (looking_up_.contains(reference)) return true;
  const auto is_prepared = [](const auto& has) { return has.image->preparing; };
  if (std::ranges::any_of(by_chain_.find(chain_id), is_prepared)) return true;
  return std::ranges::any_of(images_, [&](const auto& each) {
    const auto& image = *each.second;
    return image.preparing && image.chain_ids.empty() &&
           clock_.now() - image.began <= options_.offer_timeout;
  });
}

Result<bool> Images::offer(const std::string& chain_id, const std::string&,
                           const snapshot::Labels& labels) {
  const auto deadline = clock_.now() + options_.offer_timeout;
  std::unique_lock lock(mutex_);
  const auto reference = look_up_label_locked(chain_id, labels);
  std::set<oci::Digest> begun;
  for (;;) {
    prepare_after_all_locked(chain_id, begun);
    if (find_locked(chain_id)) {
      held_.insert(chain_id);
      return true;
    }
    if (stopping_) return fail(Code::kCancelled, "the node stops");
    if (!may_come_locked(chain_id, reference) || clock_.now() >= deadline) return false;
    changed_.wait_for(lock, deadline - clock_.now());
  }
}

// Whether what is known of images says all there is to say of the chain.
bool Images::knows_locked(const std::string& chain_id) const {
  const auto is_new = [this](const auto& has) {
    const auto& image = *has.image;
    return image.preparing || image.verdict.reason != Reason::kAlreadyUnpacked ||
           is_pulled_though_unpacked_locked(image);
  };
  if (std::ranges::any_of(by_chain_.find(chain_id), is_new)) return true;
  const auto may_be_its = [](const auto& each) {
    return each.second->preparing && each.second->chain_ids.empty();
  };
  return std::ranges::any_of(images_, may_be_its);
}

// A client that does not pull through the mirror says in a label which image it pulls. Returns the
// reference when it is being looked up.
std::string Images::look_up_label_locked(const std::string& chain_id,
                                         const snapshot::Labels& labels) {
  for (const char* name : kImageRefLabels) {
    const auto label = labels.find(name);
    if (label == labels.end()) continue;
    if (looking_up_.contains(label->second)) return label->second;
    if (knows_locked(chain_id) || has_failed_locked(label->second)) continue;
    looking_up_.insert(label->second);
    pool_.submit([this, reference = label->second] {
      look_up(reference);
      const std::lock_guard done(mutex_);
      looking_up_.erase(reference);
      changed_.notify_all();
    });
    return label->second;
  }
  return {};
}

void Images::look_up(const std::string& text) {
  const auto resolve = [&]() -> Result<void> {
    if (is_stopping()) return fail(Code::kCancelled, "the node stops");
    RUNNEL_TRY(const auto reference, oci::Reference::parse(text));
    if (!registries_.is_configured(reference.host)) {
      leave_alone(text, reference.host);
      return {};
    }
    const auto repository = registries_.repository(reference.host, reference.repository);
    RUNNEL_TRY(auto read, repository.manifest(reference.target()));
    RUNNEL_TRY(const auto document, oci::parse_document(read.bytes, read.media_type));
    if (const auto* index = std::get_if<oci::Index>(&document)) {
      RUNNEL_TRY(const auto child, convert::platform_manifest(*index));
      RUNNEL_TRY(read, repository.manifest(child.to_string()));
    }
    manifest_seen({.host = reference.host,
                   .repository = reference.repository,
                   .digest = read.digest,
                   .media_type = read.media_type,
                   .bytes = read.bytes});
    return {};
  };
  const auto done = resolve();
  if (done) return;
  log::info(log::Fields{{"image", text}}, "cannot be looked up: {}", done.error().message);
  const std::lock_guard lock(mutex_);
  if (failed_look_ups_.size() >= kMostFailedLookUps) failed_look_ups_.clear();
  failed_look_ups_[text] = clock_.now();
}

// Each layer of an image would wait for that anew.
bool Images::has_failed_locked(const std::string& reference) const {
  const auto failed = failed_look_ups_.find(reference);
  return failed != failed_look_ups_.end() && clock_.now() - failed->second <= options_.retry_after;
}

Images::Mounting::Mounting(Images& images, std::string name)
    : images_(images), name_(std::move(name)) {
  images_.mounting_.insert(name_);
}

Images::Mounting::~Mounting() {
  const std::lock_guard lock(images_.mutex_);
  images_.mounting_.erase(images_.mounting_.find(name_));
}

Result<std::string> Images::mount(const std::string& chain_id) {
  std::unique_lock lock(mutex_);
  const auto found = find_locked(chain_id);
  if (!found) return no_such_chain(chain_id);
  const Place& place = *found;
  const auto name = mount_name(*place.image, place.layers);
  const Mounting mounting(*this, name);
  lock.unlock();
  const auto digests = device_digests(place.image->boot, place.layers);
  const auto there = idle_mounts_.use_too(name, [&] { return engine_.mounted_at(name, digests); });
  if (there) return *there;
  auto metadata = place.image->metadata_path();
  if (place.layers < place.image->chain_ids.size()) {
    RUNNEL_TRY(metadata, prefix_metadata(place));
  }
  RUNNEL_DO(attach(*place.image));  // the cache may have been cleared meanwhile
  return idle_mounts_.use(name, [&](bool idle) {
    return engine_.mount(name, metadata, digests,
                         idle ? engine::Existing::kIdle : engine::Existing::kUsed);
  });
}

TreeSources Images::tree_sources(const StreamedImage& image, size_t layer,
                                 fetch::Priority priority) const {
  const auto& record = image.boot.head.layers[layer];
  const auto digest = oci::Digest::from_sha256(record.blob_digest);
  TreeSources sources{
      .path = tree_path_in(image, digest),
      .copies = {},
      .blob = registries_.source(image.host, image.repository, digest, record.blob_size),
      .original = std::nullopt,
      .priority = priority};
  if (!image.layer_sizes.empty()) sources.original = original_of(image, layer);
  const std::lock_guard lock(mutex_);
  for (const auto& [subject, other] : images_) {
    if (other->streamed && subject != image.subject)
      sources.copies.push_back(tree_path_in(*other->streamed, digest));
  }
  return sources;
}

// Brings the trees here that a merge of some of the image's layers may need one day. The last layer
// is in no merge but the boot blob's, and layers of too many bytes are in none.
Result<void> Images::keep_trees(const StreamedImage& image) const {
  const size_t mergeable = mergeable_layers(image.boot.head.layers);
  for (size_t i = 0; i < mergeable && i + 1 < image.chain_ids.size(); ++i) {
    if (::access(image.directory.c_str(), F_OK) != 0) return {};  // dropped meanwhile
    const auto digest = oci::Digest::from_sha256(image.boot.head.layers[i].blob_digest);
    if (::access(tree_path_in(image, digest).c_str(), F_OK) == 0) continue;
    const auto sources = tree_sources(image, i, fetch::Priority::kBackground);
    RUNNEL_DO(keep_tree(image.boot.head.layers[i], sources, clock_));
  }
  return {};
}

// The merge of the lowest layers alone, made from their trees the first time it is asked for.
Result<std::string> Images::prefix_metadata(const Place& place) {
  const auto path = fmt::format("{}/{}.erofs", place.image->directory, place.layers);
  if (is_merge_kept(path)) return path;
  RUNNEL_TRY(const auto turn, merge_turn_.wait([this] { return is_stopping(); }));
  if (is_merge_kept(path)) return path;
  const auto records = std::span(place.image->boot.head.layers).first(place.layers);
  const auto goes_on = [this, deadline = clock_.now() + kMergeTime]() -> Result<void> {
    if (is_stopping()) return fail(Code::kCancelled, "the node stops");
    if (clock_.now() < deadline) return {};
    return fail(Code::kUnavailable, "the layers to be merged do not come in time");
  };
  const auto load = [&](size_t layer, const artifact::TreeLimits& limits) {
    auto sources = tree_sources(*place.image, layer, fetch::Priority::kDemand);
    sources.goes_on = goes_on;
    return load_tree(records[layer], sources, clock_, limits);
  };
  RUNNEL_TRY(const Buffer image, merge_prefix(records, load));
  RUNNEL_DO(keep_merge(path, image));
  return path;
}

Result<snapshot::Usage> Images::usage(const std::string& chain_id) {
  RUNNEL_TRY(const auto place, find(chain_id));
  const auto& record = place.image->boot.head.layers[place.layers - 1];
  snapshot::Usage usage;
  const auto layer = engine_.layer(oci::Digest::from_sha256(record.blob_digest));
  if (layer) usage.bytes = layer->stats().bytes_present;
  return usage;
}

}  // namespace runnel::node
