#include "artifact/merged_profile.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace runnel::artifact {

namespace {

// Of the votes, for a chunk to be kept.
constexpr size_t kOneOf = 4;

struct Places {
  size_t votes = 0;
  uint64_t sum = 0;  // of the places, counted from 0

  double mean() const { return static_cast<double>(sum) / static_cast<double>(votes); }
};

using ChunkKey = std::pair<uint16_t, uint32_t>;  // layer of the merged profile, chunk

// The number of `layer` in `layers`, to which it is added; kMaxLayers of them at most, since that
// is what one profile may have, and votes of one image have the same.
std::optional<uint16_t> place_of(const oci::Digest& layer, std::vector<oci::Digest>& layers) {
  const auto found = std::ranges::find(layers, layer);
  if (found != layers.end()) return static_cast<uint16_t>(found - layers.begin());
  if (layers.size() >= UINT16_MAX) return std::nullopt;
  layers.push_back(layer);
  return static_cast<uint16_t>(layers.size() - 1);
}

void count(const Profile& vote, std::vector<oci::Digest>& layers,
           std::map<ChunkKey, Places>& places) {
  std::vector<std::optional<uint16_t>> layer_of;
  layer_of.reserve(vote.layers.size());
  for (const auto& layer : vote.layers) layer_of.push_back(place_of(layer, layers));
  std::set<ChunkKey> seen;
  for (const auto& each : vote.chunks) {
    if (each.layer >= layer_of.size() || !layer_of[each.layer]) continue;
    const ChunkKey key(*layer_of[each.layer], each.chunk);
    if (!seen.insert(key).second) continue;
    auto& place = places[key];
    ++place.votes;
    place.sum += seen.size() - 1;
  }
}

std::set<std::pair<oci::Digest, uint32_t>> chunks_of(const Profile& profile) {
  std::set<std::pair<oci::Digest, uint32_t>> chunks;
  for (const auto& each : profile.chunks)
    if (each.layer < profile.layers.size()) chunks.emplace(profile.layers[each.layer], each.chunk);
  return chunks;
}

}  // namespace

Profile merge_profiles(std::span<const Profile> votes) {
  Profile merged;
  if (votes.empty()) return merged;
  merged.image = votes.front().image;
  std::map<ChunkKey, Places> places;
  for (const auto& vote : votes) count(vote, merged.layers, places);
  std::erase_if(places,
                [&](const auto& entry) { return entry.second.votes * kOneOf < votes.size(); });
  std::vector<std::pair<ChunkKey, Places>> order(places.begin(), places.end());
  std::ranges::sort(order, {}, [](const auto& entry) {
    const auto& [key, place] = entry;
    return std::tuple(place.mean(), -static_cast<int64_t>(place.votes), key);
  });
  order.resize(std::min(order.size(), kMaxProfileChunks));
  for (const auto& [key, place] : order)
    merged.chunks.push_back({.layer = key.first, .chunk = key.second});
  return merged;
}

double difference(const Profile& a, const Profile& b) {
  const auto of_a = chunks_of(a);
  const auto of_b = chunks_of(b);
  std::vector<std::pair<oci::Digest, uint32_t>> both;
  std::ranges::set_intersection(of_a, of_b, std::back_inserter(both));
  const auto all = of_a.size() + of_b.size() - both.size();
  return all == 0 ? 0 : static_cast<double>(all - both.size()) / static_cast<double>(all);
}

}  // namespace runnel::artifact
