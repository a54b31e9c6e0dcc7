#include "node/image_needs.h"

namespace runnel::node {

void ImageNeeds::add(const ChainIds& image) {
  for (const auto& chain : image) ++owners_[chain];
}

void ImageNeeds::remove(const ChainIds& image) {
  for (const auto& chain : image) {
    const auto found = owners_.find(chain);
    if (found != owners_.end() && --found->second == 0) owners_.erase(found);
  }
}

bool ImageNeeds::needs(const ChainIds& image, const std::function<bool(size_t)>& is_mounted) const {
  for (size_t layers = image.size(); layers > 0; --layers) {
    const auto found = owners_.find(image[layers - 1]);
    if (found == owners_.end() || !held_.contains(found->first)) continue;
    if (layers == image.size() || found->second == 1 || is_mounted(layers)) return true;
  }
  return false;
}

}  // namespace runnel::node
