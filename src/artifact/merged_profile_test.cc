#include "artifact/merged_profile.h"

#include <gtest/gtest.h>

#include "artifact/boot_blob.h"

namespace runnel::artifact {
namespace {

oci::Digest layer(std::string_view name) {
  return oci::Digest::of(as_bytes(name));
}

Profile profile(std::vector<oci::Digest> layers, std::vector<Profile::Chunk> chunks) {
  return {.image = "registry.example/app@sha256:x",
          .layers = std::move(layers),
          .chunks = std::move(chunks)};
}

TEST(MergedProfile, OfNobodyIsEmpty) {
  EXPECT_EQ(merge_profiles({}), Profile());
}

TEST(MergedProfile, OfOneNodeIsWhatItSaid) {
  const auto one = profile({layer("a"), layer("b")}, {{1, 7}, {0, 3}, {1, 2}});

  EXPECT_EQ(merge_profiles({{one}}), one);
}

TEST(MergedProfile, HasTheMeanOrderOfTheNodes) {
  const std::vector<Profile> votes = {profile({layer("a")}, {{0, 1}, {0, 2}, {0, 3}}),
                                      profile({layer("a")}, {{0, 2}, {0, 1}, {0, 3}}),
                                      profile({layer("a")}, {{0, 2}, {0, 3}, {0, 1}})};

  EXPECT_EQ(merge_profiles(votes).chunks, (std::vector<Profile::Chunk>{{0, 2}, {0, 1}, {0, 3}}));
}

TEST(MergedProfile, LeavesOutWhatFewerThanAQuarterOfTheNodesRead) {
  std::vector<Profile> votes(4, profile({layer("a")}, {{0, 1}}));
  votes.push_back(profile({layer("a")}, {{0, 9}, {0, 1}}));

  EXPECT_EQ(merge_profiles(votes).chunks, (std::vector<Profile::Chunk>{{0, 1}}));

  votes.erase(votes.begin());
  EXPECT_EQ(merge_profiles(votes).chunks.size(), 2u) << "one of four is a quarter";
}

TEST(MergedProfile, ComparesLayersByDigestNotByTheirNumber) {
  const std::vector<Profile> votes = {profile({layer("a"), layer("b")}, {{1, 5}}),
                                      profile({layer("b"), layer("c")}, {{0, 5}, {1, 6}})};

  const auto merged = merge_profiles(votes);

  EXPECT_EQ(merged.layers, (std::vector{layer("b"), layer("c")}));
  EXPECT_EQ(merged.chunks, (std::vector<Profile::Chunk>{{0, 5}, {1, 6}}));
}

// One node that names layers of its own would otherwise make the profile of all unreadable.
TEST(MergedProfile, CanBeReadHoweverManyLayersTheVotesName) {
  std::vector<Profile> votes(8, profile({layer("a")}, {{0, 1}}));
  for (size_t i = 0; i < 4; ++i) {
    Profile odd = profile({}, {});
    for (uint16_t n = 0; n < kMaxLayers - 1; ++n) {
      odd.layers.push_back(layer(fmt::format("{} {}", i, n)));
      odd.chunks.push_back({n, 0});
    }
    odd.layers.push_back(layer("a"));
    odd.chunks.push_back({kMaxLayers - 1, 1});
    votes.insert(votes.begin(), odd);
  }

  const auto merged = merge_profiles(votes);

  EXPECT_EQ(merged.layers, std::vector{layer("a")});
  EXPECT_EQ(merged.chunks, (std::vector<Profile::Chunk>{{0, 1}}));
  EXPECT_EQ(parse_profile(as_bytes(to_json(merged))).value(), merged);
}

TEST(MergedProfile, HasTheLayersThatAreReadFirstWhenTheyAreTooMany) {
  std::vector<Profile> votes;
  for (size_t i = 0; i < 2; ++i) {
    Profile one = profile({}, {});
    for (uint16_t n = 0; n < kMaxLayers; ++n) {
      one.layers.push_back(layer(fmt::format("{} {}", i, n)));
      one.chunks.push_back({n, 3});
    }
    votes.push_back(one);
  }

  const auto merged = merge_profiles(votes);

  EXPECT_EQ(merged.layers.size(), kMaxLayers);
  EXPECT_EQ(merged.chunks.size(), kMaxLayers);
  EXPECT_EQ(merged.layers[merged.chunks[0].layer], layer("0 0"));
  EXPECT_EQ(merged.layers[merged.chunks[1].layer], layer("1 0"));
  EXPECT_EQ(parse_profile(as_bytes(to_json(merged))).value(), merged);
}

TEST(MergedProfile, CountsAChunkOfANodeOnce) {
  const std::vector<Profile> votes = {profile({layer("a")}, {{0, 1}, {0, 1}, {0, 2}}),
                                      profile({layer("a")}, {{0, 2}, {0, 1}})};

  EXPECT_EQ(merge_profiles(votes).chunks, (std::vector<Profile::Chunk>{{0, 1}, {0, 2}}));
}

TEST(MergedProfile, IgnoresALayerThatAVoteDoesNotName) {
  EXPECT_TRUE(merge_profiles({{profile({layer("a")}, {{3, 1}})}}).chunks.empty());
}

TEST(ProfileDifference, IsTheShareThatOnlyOneHas) {
  const auto old = profile({layer("a")}, {{0, 1}, {0, 2}, {0, 3}, {0, 4}});

  EXPECT_EQ(difference(old, profile({layer("b"), layer("a")}, {{1, 4}, {1, 3}, {1, 2}, {1, 1}})),
            0);
  EXPECT_EQ(difference(old, profile({layer("a")}, {{0, 1}, {0, 2}, {0, 3}})), 0.25);
  EXPECT_EQ(difference(old, profile({layer("b")}, {{0, 1}})), 1);
  EXPECT_EQ(difference({}, {}), 0);
}

}  // namespace
}  // namespace runnel::artifact
