#include "registry/boot_profiles.h"

#include <gtest/gtest.h>

#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/boot_renewal.h"
#include "registry/converted_layers.h"
#include "registry/new_manifest.h"
#include "registry/profile_votes.h"
#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"
#include "support/sample_artifact.h"

namespace runnel::registry {
namespace {

constexpr std::string_view kTeam = "team/app";
constexpr WallTime kNoted(std::chrono::seconds(1'700'000'000));

oci::Digest digest(std::string_view text) {
  return oci::Digest::of(as_bytes(text));
}

class BootProfilesTest : public testing::Test {
 protected:
  // A manifest that stands for an image; its digest.
  oci::Digest put_image(std::string_view repository, std::string_view mark) {
    const auto text = fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},)"
        R"("layers":[],"annotations":{{"mark":"{}"}}}})",
        oci::kOciManifest, oci::kOciEmpty, digest("{}"), mark);
    return put(repository, text);
  }
  oci::Digest put_artifact(const oci::Digest& subject, uint64_t generation) {
    auto made = test::sample_artifact(subject, generation);
    made.layers = {made.layers.front()};
    made.layers.front().blob = digest("blob");
    return put(kTeam, oci::to_json(artifact::to_manifest(made)));
  }
  oci::Digest put(std::string_view repository, std::string_view text) {
    auto made = new_manifest(as_bytes(text), oci::kOciManifest, oci::Algorithm::kSha256).value();
    made.blobs_required = false;
    EXPECT_TRUE(store_.put_manifest(repository, made));
    return made.digest;
  }
  static artifact::Profile of_layers(const std::vector<std::string>& layers) {
    artifact::Profile profile;
    for (const auto& layer : layers) {
      profile.layers.push_back(digest(layer));
      profile.chunks.push_back({static_cast<uint16_t>(profile.layers.size() - 1), 7});
    }
    return profile;
  }
  static artifact::Profile chunks_up_to(uint32_t count) {
    artifact::Profile profile{.image = "i", .layers = {digest("blob")}};
    for (uint32_t chunk = 0; chunk < count; ++chunk) profile.chunks.push_back({0, chunk});
    return profile;
  }
  void note(std::string_view repository, const oci::Digest& image,
            const artifact::Profile& profile) {
    ASSERT_TRUE(note_boot_profile(store_, std::string(repository), image, profile, 2, kNoted));
  }
  void forget_all() {
    std::string after;
    do {
      after = forget_boot_profiles_of_absent(store_, after).value();
    } while (!after.empty());
  }

  SystemClock clock_;
  test::MemoryMetadataStore store_{test::MemoryMetadataStore::new_data(), clock_};
};

TEST_F(BootProfilesTest, OneThatIsNotedCountsOnceItsArtifactIsThere) {
  const auto image = put_image(kTeam, "image");
  note(kTeam, image, of_layers({"a"}));

  const auto before = boot_profile(store_, std::string(kTeam), image, 1).value();
  EXPECT_TRUE(before.profile.chunks.empty());
  EXPECT_EQ(before.at, std::nullopt);
  const auto now = boot_profile(store_, std::string(kTeam), image, 2).value();
  EXPECT_EQ(now.profile, of_layers({"a"}));
  EXPECT_EQ(now.at, kNoted);
  EXPECT_EQ(boot_profile(store_, std::string(kTeam), image, 3)->at, std::nullopt)
      << "somebody else made that one";
}

TEST_F(BootProfilesTest, AnArtifactThatNothingHasReplacedStays) {
  const auto image = put_image(kTeam, "image");
  const auto old = put_artifact(image, 1);
  const WallTime now(std::chrono::hours(24 * 365 * 56));
  ASSERT_TRUE(supersede(store_, std::string(kTeam), old, now));
  EXPECT_EQ(remove_superseded(store_, now + std::chrono::hours(24)).value(), 1u);
  EXPECT_TRUE(store_.manifest_info(kTeam, old).value()) << "its successor was never published";

  put_artifact(image, 2);
  ASSERT_TRUE(supersede(store_, std::string(kTeam), old, now));
  EXPECT_EQ(remove_superseded(store_, now + std::chrono::hours(24)).value(), 1u);
  EXPECT_FALSE(store_.manifest_info(kTeam, old).value());
}

TEST_F(BootProfilesTest, AreMadeAnewWhenMoreThanATenthOfTheHotSetChanges) {
  const std::string repository(kTeam);
  const auto image = put_image(kTeam, "image");
  put_artifact(image, 1);
  ASSERT_TRUE(note_boot_profile(store_, repository, image, chunks_up_to(20), 1, kNoted));
  const auto wanted = [&](uint32_t chunks) {
    EXPECT_TRUE(cast_vote(store_, repository, image, {"", "node"}, chunks_up_to(chunks)));
    return wanted_boot(store_, repository, image).value();
  };

  EXPECT_FALSE(wanted(20));
  EXPECT_FALSE(wanted(18)) << "two of twenty are a tenth";
  const auto more = wanted(17);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->voted.votes, 1u);
  EXPECT_EQ(more->newest.artifact.generation, 1u);
  EXPECT_EQ(more->newest_made, kNoted);
}

TEST_F(BootProfilesTest, OneThatWasNotedAndNeverPublishedIsStillWanted) {
  const std::string repository(kTeam);
  const auto image = put_image(kTeam, "image");
  put_artifact(image, 1);
  ASSERT_TRUE(cast_vote(store_, repository, image, {"", "node"}, chunks_up_to(20)));
  ASSERT_TRUE(note_boot_profile(store_, repository, image, chunks_up_to(20), 2, kNoted));

  const auto wanted = wanted_boot(store_, repository, image).value();
  ASSERT_TRUE(wanted) << "whoever noted it died before it was there";
  EXPECT_EQ(wanted->newest_made, std::nullopt) << "so there is no minute to wait for";

  put_artifact(image, 2);
  EXPECT_FALSE(wanted_boot(store_, repository, image).value());
}

TEST_F(BootProfilesTest, AreMadeOfTheImagesOwnLayersWhateverElseIsVotedFor) {
  const std::string repository(kTeam);
  const auto image = put_image(kTeam, "image");
  put_artifact(image, 1);
  ASSERT_TRUE(cast_vote(store_, repository, image, {"user:one", "node"}, of_layers({"base"})));
  EXPECT_FALSE(wanted_boot(store_, repository, image).value());
  ASSERT_TRUE(
      cast_vote(store_, repository, image, {"user:two", "node"}, of_layers({"base", "blob"})));

  const auto wanted = wanted_boot(store_, repository, image).value();

  ASSERT_TRUE(wanted);
  EXPECT_EQ(wanted->voted.profile, of_layers({"blob"}));
  note(kTeam, image, wanted->voted.profile);
  EXPECT_FALSE(shared_starts(store_, {digest("base")}).value())
      << "who has another image decides what those with this layer bring first";
}

TEST_F(BootProfilesTest, OfAnImageThatIsNoneFailWithTheReason) {
  test::MemoryBlobStore blobs;
  const Config config;
  Uploads uploads(blobs, store_, clock_, std::chrono::hours(1));
  const auto key = artifact::Key::generate();
  const ConversionTools tools{config, blobs, store_, uploads, key, {}};
  const std::string repository(kTeam);
  const auto image = put_image(kTeam, "image");
  put_artifact(image, 1);
  ASSERT_TRUE(cast_vote(store_, repository, image, {"", "node"}, chunks_up_to(20)));
  auto wanted = wanted_boot(store_, repository, image).value();
  ASSERT_TRUE(wanted);

  const auto renewed =
      renew_boot(tools, repository, image, *std::move(wanted), kNoted, [] { return false; });

  ASSERT_FALSE(renewed);
  EXPECT_EQ(renewed.error().code, "IMAGE_NOT_RUNNABLE");
}

TEST_F(BootProfilesTest, OfSharedLayersAreTakenFromAnyRepositoryAndOfNoOtherLayers) {
  note("other/app", put_image("other/app", "image"), of_layers({"base", "secret"}));

  const auto found = shared_starts(store_, {digest("base"), digest("mine")}).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, of_layers({"base"}));
  EXPECT_FALSE(shared_starts(store_, {digest("mine")}).value());
}

TEST_F(BootProfilesTest, TheImageThatSharesMostGoesFirst) {
  note("one/app", put_image("one/app", "image"), of_layers({"a", "b", "c"}));
  note("two/app", put_image("two/app", "image"), of_layers({"a", "x"}));

  const auto found = shared_starts(store_, {digest("a"), digest("b")}).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, of_layers({"a", "b"}));
}

TEST_F(BootProfilesTest, OfAnImageThatIsGoneGiveNothingAndAreForgotten) {
  const auto gone = put_image("gone/app", "image");
  const auto kept = put_image(kTeam, "image");
  const auto index = put_image(kTeam, "index");
  note("gone/app", gone, of_layers({"a"}));
  note(kTeam, kept, of_layers({"b"}));
  ASSERT_TRUE(note_index(store_, std::string(kTeam), kept, index));
  ASSERT_TRUE(store_.delete_manifest("gone/app", gone, meta::Undo::kNever).value());

  EXPECT_FALSE(shared_starts(store_, {digest("a")}).value());
  forget_all();

  for (const auto* kind : {"boot-profile", "boot-profile-layer", "converted-index"})
    EXPECT_EQ(store_.documents(kind, "", 10)->size(), 1u) << kind;
  EXPECT_EQ(indexes_of(store_, std::string(kTeam), kept)->size(), 1u);
  ASSERT_TRUE(store_.delete_manifest(kTeam, index, meta::Undo::kNever).value());
  EXPECT_TRUE(indexes_of(store_, std::string(kTeam), kept)->empty());
  forget_all();
  EXPECT_TRUE(store_.documents("converted-index", "", 10)->empty());
  EXPECT_EQ(store_.documents("boot-profile", "", 10)->size(), 1u);
}

TEST_F(BootProfilesTest, AConvertedLayerIsForgottenWithItsBlob) {
  test::MemoryBlobStore blobs;
  const ConvertedLayers layers(store_, blobs);
  ASSERT_TRUE(store_.link_blob(kTeam, digest("kept"), 4));
  ASSERT_TRUE(layers.remember(digest("one"), digest("diff"), {digest("kept"), 4}));
  ASSERT_TRUE(layers.remember(digest("two"), digest("diff"), {digest("lost"), 4}));

  EXPECT_EQ(layers.forget_absent("").value(), "");

  const auto left = store_.documents("converted-layer", "", 10).value();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left.front().name.find(digest("one").to_string()), std::string::npos);
}

}  // namespace
}  // namespace runnel::registry
