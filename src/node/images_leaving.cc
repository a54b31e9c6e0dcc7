// Images: how one goes that nobody needs any more. Its mounts and what is stored of it go at once;
// the cache keeps its layers while it has room.
#include <algorithm>

#include "base/log.h"
#include "node/images.h"
#include "node/old_verdicts.h"

namespace runnel::node {

// An image whose layers were all unpacked before streamed for nobody. Preparations end first, or
// nobody would drop what they mount.
Images::~Images() {
  Images::begin_stop();
  engine_.on_short_of_room({});
  letting_go_.stop();
  idle_mounts_.stop();
  opening_rest_.stop();
  pool_.finish();
  std::vector<std::shared_ptr<const StreamedImage>> unneeded;
  std::vector<std::shared_ptr<BootDownload>> downloads;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [subject, image] : images_) {
      if (image->boot_download) downloads.push_back(std::move(image->boot_download));
      if (!image->streamed || is_needed_locked(*image)) continue;
      needs_.remove(image->chain_ids);
      unneeded.push_back(image->streamed);
    }
  }
  for (const auto& download : downloads) download->cancel();
  for (const auto& image : unneeded) drop(*image);
}

// Of an image that streams: whether a snapshot needs it.
bool Images::is_needed_locked(const Image& image) const {
  return needs_.needs(image.chain_ids, [&](size_t layers) {
    const auto name = mount_name(*image.streamed, layers);
    return mounting_.contains(name) || engine_.has_mounted(name);
  });
}

// Whether it streams, and neither a snapshot nor a caller of prepare_now() has a use for that.
bool Images::is_unused_locked(const Image& image) const {
  return image.streamed && !image.preparing && !is_needed_locked(image) &&
         !waited_for_.contains(image.subject);
}

// Not of an image that somebody waits for, or that leaves and may be wanted again.
void Images::forget_old_verdicts_locked() {
  std::vector<OldVerdict> verdicts;
  for (const auto& [manifest, image] : images_) {
    if (image->streamed || image->preparing || waited_for_.contains(manifest)) continue;
    verdicts.push_back({.image = manifest, .decided = image->decided});
  }
  for (const auto& manifest : verdicts_to_forget(std::move(verdicts))) erase_locked(manifest);
}

std::vector<oci::Digest> Images::unused() const {
  std::vector<oci::Digest> unused;
  const std::lock_guard lock(mutex_);
  for (const auto& [manifest, image] : images_) {
    if (is_unused_locked(*image)) unused.push_back(manifest);
  }
  return unused;
}

void Images::let_go_unless_used(const oci::Digest& manifest) {
  {
    const std::lock_guard lock(mutex_);
    const auto waited = waited_for_.find(manifest);
    if (waited != waited_for_.end()) waited_for_.erase(waited);
  }
  let_go({manifest});
}

// Those of them that are unused.
void Images::let_go(const std::vector<oci::Digest>& manifests) {
  std::vector<Leaving> leaving;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& manifest : manifests) {
      const auto found = images_.find(manifest);
      if (found == images_.end() || !is_unused_locked(*found->second)) continue;
      const auto& image = found->second;
      needs_.remove(image->chain_ids);  // another that shares its base stays for that
      image->preparing = image->leaving = true;
      leaving.push_back({.image = image,
                         .streamed = std::exchange(image->streamed, nullptr),
                         .boot_download = std::exchange(image->boot_download, nullptr)});
    }
  }
  for (const auto& each : leaving) leave(each);
}

// What was unpacked the ordinary way keeps a verdict, for who wonders why it does not stream.
void Images::leave(const Leaving& leaving) {
  const auto& image = leaving.image;
  log::info(log::Fields{{"image", leaving.streamed->name()}}, "nobody needs it any more");
  if (leaving.boot_download) leaving.boot_download->cancel();
  drop(*leaving.streamed);
  const bool unpacked = all_unpacked(*image);
  const std::lock_guard lock(mutex_);
  give_up_locked(leaving.boot_download);
  image->preparing = image->leaving = false;  // for who waits for it
  if (image->wanted_again) {
    prepare_again_locked(*image);
  } else if (unpacked) {
    image->verdict = {.reason = Reason::kAlreadyUnpacked, .detail = "repull it to make it stream"};
    image->decided = clock_.now();
  } else {
    erase_locked(image->subject);
  }
  changed_.notify_all();
}

void Images::give_up(std::shared_ptr<BootDownload> download) {
  download->cancel();
  const std::lock_guard lock(mutex_);
  give_up_locked(std::move(download));
}

void Images::give_up_locked(std::shared_ptr<BootDownload> download) {
  std::erase_if(departed_, [](const auto& each) { return each->is_over(); });
  if (download) departed_.push_back(std::move(download));
}

// Takes its mounts and what is stored of it away; the cache keeps the layers.
void Images::drop(const StreamedImage& image) {
  for (size_t layers = 1; layers <= image.chain_ids.size(); ++layers) {
    const auto name = mount_name(image, layers);
    if (auto done = idle_mounts_.unmount(name); !done) {
      log::warning(log::Fields{{"image", image.name()}}, "{}", done.error().message);
    }
  }
  if (auto removed = store_.remove(image); !removed) {
    log::error(log::Fields{{"image", image.name()}}, "{}", removed.error().message);
  }
  release_layers(image);
}

// Those that no other image has may go now.
void Images::release_layers(const StreamedImage& image) {
  auto unneeded = device_digests(image.boot, image.chain_ids.size());
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [subject, other] : images_) {
      if (!other->streamed || subject == image.subject) continue;
      for (const auto& digest : device_digests(other->streamed->boot, other->chain_ids.size())) {
        std::erase(unneeded, digest);
      }
    }
  }
  engine_.release(unneeded);
}

// An image that was seen while it was being taken away.
void Images::prepare_again_locked(const Image& gone) {
  const auto image = std::make_shared<Image>();
  image->host = gone.host;
  image->repository = gone.repository;
  image->subject = gone.subject;
  image->manifest = gone.manifest;
  put_locked(image);
  begin_locked(image, Prepare::kWhenOfUse);
}

// Several images may have the chain, and which of them was mounted for it depends on what was there
// then: none of those mounts is needed any more.
void Images::idle(const std::string& chain_id) {
  std::vector<std::string> mounts;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [image, layers] : by_chain_.find(chain_id))
      if (image->streamed) mounts.push_back(mount_name(*image->streamed, layers));
  }
  for (const auto& name : mounts) {
    if (engine_.has_mounted(name)) idle_mounts_.idle(name);
  }
}

void Images::forget(const std::string& chain_id) {
  std::vector<oci::Digest> concerned;
  {
    const std::lock_guard lock(mutex_);
    held_.erase(chain_id);
    for (const auto& [image, layers] : by_chain_.find(chain_id))
      concerned.push_back(image->subject);
  }
  let_go(concerned);
}

}  // namespace runnel::node
