// Which images have a chain ID. A pull asks for each of its layers, under the lock that all pulls
// share: on a node that knows a thousand images a look at each of them took 0.15 ms.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <ranges>
#include <string_view>

namespace runnel::node {

// Not thread-safe. `Image` has chain_ids, of its layers, lowest first.
template <class Image>
class ByChain {
 public:
  struct Has {
    std::shared_ptr<Image> image;
    size_t layers = 0;  // how many of its lowest ones the chain ID means
  };

  // Its chain IDs must stay as they are until it is removed.
  void add(const std::shared_ptr<Image>& image) {
    size_t layers = 0;
    for (const auto& id : image->chain_ids)
      has_.emplace(std::string_view(id), Has{.image = image, .layers = ++layers});
  }

  // Nothing when it is not here.
  void remove(const std::shared_ptr<Image>& image) {
    for (const auto& id : image->chain_ids) {
      auto [at, end] = has_.equal_range(id);
      while (at != end) at = at->second.image == image ? has_.erase(at) : std::next(at);
    }
  }

  // Those that have it, in the order in which they were added.
  auto find(std::string_view chain_id) const {
    const auto [first, last] = has_.equal_range(chain_id);
    return std::ranges::subrange(first, last) | std::views::values;
  }

 private:
  std::multimap<std::string_view, Has> has_;  // the keys are the images'
};

}  // namespace runnel::node
