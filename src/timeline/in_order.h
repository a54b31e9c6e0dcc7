// A sort that leaves equals as they were. Not std::stable_sort: what libstdc++ 12 makes of it in
// C++23 uses a function that is deprecated there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace runnel::timeline {

// key: const T& -> something ordered.
template <class T, class Key>
void sort_by(std::vector<T>& all, Key key) {
  using Value = std::decay_t<std::invoke_result_t<Key, const T&>>;
  std::vector<std::pair<Value, size_t>> order;
  order.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) order.emplace_back(std::invoke(key, all[i]), i);
  std::ranges::sort(order);
  std::vector<T> sorted;
  sorted.reserve(all.size());
  for (const auto& [value, i] : order) sorted.push_back(std::move(all[i]));
  all = std::move(sorted);
}

}  // namespace runnel::timeline
