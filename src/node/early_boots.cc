#include "node/early_boots.h"

#include <algorithm>
#include <utility>

namespace runnel::node {

void EarlyBoots::begin(const WantedImage& image, const artifact::BootHint& hint, bool known) {
  const std::lock_guard lock(mutex_);
  sweep_locked();
  if (early_.size() + departed_.size() >= kMost || early_.contains(image)) return;
  auto download = begin_(image, hint, known || may_bring_locked(hint.base));
  early_[image] = {.begun = clock_.now(), .hint = hint, .download = std::move(download)};
}

std::shared_ptr<BootDownload> EarlyBoots::take(const WantedImage& image, const oci::Digest& blob,
                                               uint64_t size) {
  const std::lock_guard lock(mutex_);
  sweep_locked();
  const auto at = early_.find(image);
  if (at == early_.end()) return nullptr;
  Early early = std::move(at->second);
  early_.erase(at);
  if (early.hint.blob == blob && early.hint.size == size) return std::move(early.download);
  depart_locked(std::move(early));
  return nullptr;
}

void EarlyBoots::give_up(const WantedImage& image) {
  const std::lock_guard lock(mutex_);
  const auto at = early_.find(image);
  if (at == early_.end()) return;
  depart_locked(std::move(at->second));
  early_.erase(at);
}

bool EarlyBoots::may_bring(const oci::Digest& layer) {
  const std::lock_guard lock(mutex_);
  sweep_locked();
  return may_bring_locked(layer);
}

bool EarlyBoots::may_bring_locked(const oci::Digest& layer) const {
  return std::ranges::any_of(early_,
                             [&](const auto& each) { return each.second.hint.base == layer; });
}

// What nobody took in time, and what has ended meanwhile.
void EarlyBoots::sweep_locked() {
  const auto now = clock_.now();
  for (auto at = early_.begin(); at != early_.end();) {
    if (now - at->second.begun <= kPatience) {
      ++at;
      continue;
    }
    depart_locked(std::move(at->second));
    at = early_.erase(at);
  }
  std::erase_if(departed_, [](const auto& download) { return download->is_over(); });
}

void EarlyBoots::depart_locked(Early early) {
  early.download->cancel();
  if (!early.download->is_over()) departed_.push_back(std::move(early.download));
}

}  // namespace runnel::node
