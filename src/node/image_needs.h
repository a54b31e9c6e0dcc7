// Which images have to stay for the snapshots that are there.
//
// A snapshot is of a chain, and all images on one base have the base's chains: what it keeps is one
// of them, any. Else no version of an image that was ever pulled would go while there is another on
// the same base.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace runnel::node {

// Not thread-safe.
class ImageNeeds {
 public:
  using ChainIds = std::vector<std::string>;  // of an image's layers, lowest first

  // `held`: the chain IDs that have a snapshot, now and at each question; it must outlive this.
  explicit ImageNeeds(const std::set<std::string>& held) : held_(held) {}

  // An image that streams, and one that does so no more.
  void add(const ChainIds& image);
  void remove(const ChainIds& image);

  // Of one that was added: whether there is a snapshot of all its layers; one of some of them, that
  // no other image has; or one of its lowest n, and a mount of these alone (`is_mounted(n)`), whose
  // containers read through this very image.
  bool needs(const ChainIds& image, const std::function<bool(size_t)>& is_mounted) const;

 private:
  const std::set<std::string>& held_;
  std::map<std::string, size_t> owners_;  // of each chain: how many images have it
};

}  // namespace runnel::node
