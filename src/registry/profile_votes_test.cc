#include "registry/profile_votes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

class ProfileVotesTest : public testing::Test {
 protected:
  static artifact::Profile start_of(uint32_t chunk) {
    return {.image = "i", .layers = {oci::Digest::of(as_bytes("layer"))}, .chunks = {{0, chunk}}};
  }
  static oci::Digest image(std::string_view name) { return oci::Digest::of(as_bytes(name)); }

  void cast(std::string_view name, const std::string& node, uint32_t chunk,
            const std::string& principal = "") {
    const auto done =
        cast_vote(store_, "team/app", image(name), {principal, node}, start_of(chunk));
    ASSERT_TRUE(done) << done.error().message;
  }
  Voted count(std::string_view name) {
    return count_votes(store_, "team/app", image(name)).value();
  }

  size_t kept() { return store_.documents("profile-vote", "", 1000).value().size(); }

  SystemClock clock_;
  std::function<void()> before_call_ = [] {};
  test::MemoryMetadataStore store_{test::MemoryMetadataStore::new_data(), clock_,
                                   [this] { before_call_(); }};
};

TEST_F(ProfileVotesTest, NobodyHasVotedAtFirst) {
  EXPECT_EQ(count("a").votes, 0u);
  EXPECT_TRUE(count("a").profile.chunks.empty());
}

TEST_F(ProfileVotesTest, ANodesLastVoteCounts) {
  cast("a", "node 1", 1);
  cast("a", "node 2", 2);
  cast("a", "node 1", 3);

  EXPECT_EQ(count("a").votes, 2u);
  EXPECT_EQ(count("a").profile.chunks.size(), 2u);
  const auto chunks = count("a").profile.chunks;
  EXPECT_EQ(std::ranges::count(chunks, 1u, &artifact::Profile::Chunk::chunk), 0);
}

TEST_F(ProfileVotesTest, EachImageWithVotesIsFoundOnce) {
  for (const auto* name : {"a", "b"})
    for (const auto* node : {"node 1", "node 2", "node 3"}) cast(name, node, 1);
  ASSERT_TRUE(cast_vote(store_, "team/app2", image("a"), {"", "node"}, start_of(3)));
  ASSERT_TRUE(store_.put_document("profile-vote", "none of ours", "{}", 0));

  std::vector<std::pair<std::string, oci::Digest>> found;
  for (std::string after;;) {
    const auto next = next_voted(store_, after).value();
    if (!next) break;
    found.emplace_back(next->repository, next->image);
    after = next->after;
  }

  EXPECT_THAT(found, testing::UnorderedElementsAre(std::pair("team/app", image("a")),
                                                   std::pair("team/app", image("b")),
                                                   std::pair("team/app2", image("a"))));
}

TEST_F(ProfileVotesTest, VotesForAnotherImageOrRepositoryAreOthers) {
  cast("a", "node", 1);
  cast("b", "node", 2);
  ASSERT_TRUE(cast_vote(store_, "team/app2", image("a"), {"", "node"}, start_of(3)));

  EXPECT_EQ(count("a").profile, start_of(1));
  EXPECT_EQ(count("b").profile, start_of(2));
}

TEST_F(ProfileVotesTest, AFullImageForgetsWhoVotedLongestAgo) {
  for (size_t i = 0; i <= kMaxVotes; ++i) {
    cast("a", "node " + std::to_string(i), i == 0 ? 1000 : 1);
    if (i < kMaxVotes) EXPECT_EQ(count("a").votes, i + 1);
  }

  EXPECT_EQ(count("a").votes, kMaxVotes);
  cast("a", "node 0", 1);
  EXPECT_EQ(count("a").votes, kMaxVotes) << "it had lost its place, and takes another's";
}

TEST_F(ProfileVotesTest, OnePrincipalHasFewVotesHoweverManyNodesItNames) {
  for (int i = 0; i < 3; ++i) cast("a", "node " + std::to_string(i), 1, "user:honest");
  for (size_t i = 0; i < 2 * kMaxVotes; ++i)
    cast("a", "node " + std::to_string(i), 2, "user:greedy");

  const auto voted = count("a");
  EXPECT_EQ(voted.votes, 3 + kMaxVotesOfPrincipal);
  EXPECT_EQ(std::ranges::count(voted.profile.chunks, 1u, &artifact::Profile::Chunk::chunk), 1);
}

TEST_F(ProfileVotesTest, APrincipalsNewNodeTakesThePlaceOfItsOldestOne) {
  for (size_t i = 0; i <= kMaxVotesOfPrincipal; ++i)
    cast("a", "node " + std::to_string(i), static_cast<uint32_t>(i), "token:ci");
  cast("a", "node 5", 5, "token:ci");

  const auto voted = count("a");
  EXPECT_EQ(voted.votes, kMaxVotesOfPrincipal);
  EXPECT_EQ(std::ranges::count(voted.profile.chunks, 0u, &artifact::Profile::Chunk::chunk), 0);
}

// Between any two steps of one vote another one is cast, which sees the same room.
TEST_F(ProfileVotesTest, OnePrincipalHasFewVotesThoughItCastsThemAtTheSameTime) {
  int nodes = 0;
  bool nested = false;
  before_call_ = [&] {
    if (nested) return;
    nested = true;
    cast("a", "node " + std::to_string(++nodes), 1, "user:greedy");
    nested = false;
  };
  for (size_t i = 0; i < 2 * kMaxVotes; ++i)
    cast("a", "node " + std::to_string(++nodes), 1, "user:greedy");
  before_call_ = [] {};
  EXPECT_LE(kept(), kMaxVotesOfPrincipal + 1);

  cast("a", "node", 1, "user:greedy");

  EXPECT_EQ(kept(), kMaxVotesOfPrincipal);
}

TEST_F(ProfileVotesTest, AVoteThatIsTooLargeChangesNothing) {
  cast("a", "node", 1);
  auto large = start_of(1);
  large.chunks.resize(100'000, {0, 1'000'000});

  const auto done = cast_vote(store_, "team/app", image("a"), {"", "node"}, large);

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kExhausted);
  EXPECT_EQ(count("a").profile, start_of(1));
}

TEST_F(ProfileVotesTest, TheVotesOfAnAbsentImageAreForgotten) {
  meta::NewManifest manifest;
  manifest.digest = image("there");
  manifest.blobs_required = false;
  ASSERT_TRUE(store_.put_manifest("team/app", manifest));
  cast("there", "node", 1);
  for (int i = 0; i < 150; ++i) cast("gone " + std::to_string(i), "node", 1);

  std::string after;
  int calls = 0;
  do {
    after = forget_votes_of_absent(store_, after).value();
    ++calls;
  } while (!after.empty());

  EXPECT_GT(calls, 1);
  EXPECT_EQ(count("there").votes, 1u);
  for (int i = 0; i < 150; ++i) EXPECT_EQ(count("gone " + std::to_string(i)).votes, 0u);
}

}  // namespace
}  // namespace runnel::registry
