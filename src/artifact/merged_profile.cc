#include "artifact/merged_profile.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "artifact/boot_blob.h"

namespace runnel::artifact {

namespace {

// Of the votes, for a chunk to be kept.
constexpr size_t kOneOf = 4;

struct Places {
  size_t votes = 0;
  uint64_t sum = 0;  // of the places, counted from 0

  double mean() const { return static_cast<double>(sum) / static_cast<double>(votes); }
};

// Of the layers of all votes, in the order in which they are named.
using Numbers = std::map<oci::Digest, uint32_t>;
using ChunkKey = std::pair<uint32_t, uint32_t>;  // number of the layer, chunk

void count(const Profile& vote, Numbers& numbers, std::map<ChunkKey, Places>& places) {
  std::vector<uint32_t> number_of;
  number_of.reserve(vote.layers.size());
  for (const auto& layer : vote.layers) {
    const auto next = static_cast<uint32_t>(numbers.size());
    number_of.push_back(numbers.try_emplace(layer, next).first->second);
  }
  std::set<ChunkKey> seen;
  for (const auto& each : vote.chunks) {
    if (each.layer >= number_of.size()) continue;
    const ChunkKey key(number_of[each.layer], each.chunk);
    if (!seen.insert(key).second) continue;
    auto& place = places[key];
    ++place.votes;
    place.sum += seen.size() - 1;
  }
}

// Of these chunks, without those of layers for which there is no room any more.
Profile profile_of(const std::vector<ChunkKey>& chunks, const Numbers& numbers) {
  std::map<uint32_t, uint16_t> place_of;  // in the profile, by number
  for (const auto& [layer, chunk] : chunks) {
    if (place_of.size() == kMaxLayers) break;
    place_of.emplace(layer, 0);
  }
  std::vector<const oci::Digest*> by_number(numbers.size());
  for (const auto& [layer, number] : numbers) by_number[number] = &layer;
  Profile profile;
  for (auto& [number, place] : place_of) {
    place = static_cast<uint16_t>(profile.layers.size());
    profile.layers.push_back(*by_number[number]);
  }
  for (const auto& [layer, chunk] : chunks) {
    const auto found = place_of.find(layer);
    if (found != place_of.end()) profile.chunks.push_back({.layer = found->second, .chunk = chunk});
  }
  return profile;
}

std::set<std::pair<oci::Digest, uint32_t>> chunks_of(const Profile& profile) {
  std::set<std::pair<oci::Digest, uint32_t>> chunks;
  for (const auto& each : profile.chunks)
    if (each.layer < profile.layers.size()) chunks.emplace(profile.layers[each.layer], each.chunk);
  return chunks;
}

}  // namespace

Profile merge_profiles(std::span<const Profile> votes) {
  if (votes.empty()) return {};
  Numbers numbers;
  std::map<ChunkKey, Places> places;
  for (const auto& vote : votes) count(vote, numbers, places);
  std::erase_if(places,
                [&](const auto& entry) { return entry.second.votes * kOneOf < votes.size(); });
  std::vector<std::pair<ChunkKey, Places>> order(places.begin(), places.end());
  std::ranges::sort(order, {}, [](const auto& entry) {
    const auto& [key, place] = entry;
    return std::tuple(place.mean(), -static_cast<int64_t>(place.votes), key);
  });
  order.resize(std::min(order.size(), kMaxProfileChunks));
  std::vector<ChunkKey> chunks;
  chunks.reserve(order.size());
  for (const auto& [key, place] : order) chunks.push_back(key);
  auto merged = profile_of(chunks, numbers);
  merged.image = votes.front().image;
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
