// Finding and pushing what refers to a manifest.
#include <gtest/gtest.h>

#include <algorithm>

#include "oci/fallback_tag.h"
#include "support/repository_fixture.h"

namespace runnel::remote {
namespace {

class RemoteReferrers : public RemoteRepository {
 protected:
  oci::Manifest referrer(const std::string& mark, const std::string& type) {
    oci::Manifest out = manifest(mark);
    out.subject = subject_;
    out.artifact_type = type;
    return out;
  }
  static std::vector<std::string> marks(const oci::Index& index) {
    std::vector<std::string> out;
    for (const auto& entry : index.manifests) out.push_back(entry.annotations.at("mark"));
    std::ranges::sort(out);
    return out;
  }
  oci::Descriptor subject_ = [] {
    oci::Descriptor out = describe(manifest_json("subject"));
    out.media_type = oci::kOciManifest;
    return out;
  }();
};

TEST_F(RemoteReferrers, AreFoundThroughTheApi) {
  for (const char* mark : {"1", "2", "3"})
    ASSERT_TRUE(repository().push_referrer(referrer(mark, "type/a")));
  ASSERT_TRUE(repository().push_referrer(referrer("4", "type/b")));

  EXPECT_EQ(marks(*repository().referrers(subject_.digest)),
            (std::vector<std::string>{"1", "2", "3", "4"}));
  EXPECT_EQ(marks(*repository().referrers(subject_.digest, {.artifact_types = {"type/b"}})),
            (std::vector<std::string>{"4"}));
  EXPECT_EQ(
      marks(*repository().referrers(subject_.digest, {.artifact_types = {"type/b", "type/a"}}))
          .size(),
      4u);
  EXPECT_EQ(registry_.manifest("team/app", oci::fallback_tag(subject_.digest)), std::nullopt);
}

TEST_F(RemoteReferrers, AreFoundOnEveryPage) {
  registry_.set({.referrers_page = 2});
  for (int i = 0; i < 7; ++i)
    ASSERT_TRUE(repository().push_referrer(referrer(std::to_string(i), "type/a")));

  EXPECT_EQ(
      repository().referrers(subject_.digest, {.artifact_types = {"type/a"}})->manifests.size(),
      7u);
  EXPECT_EQ(registry_.count("/referrers/"), 4u);
}

TEST_F(RemoteReferrers, AreNotFollowedForEverOrElsewhere) {
  registry_.inject(
      "/referrers/",
      {.status = 200,
       .headers = {{"Content-Type", std::string(oci::kOciIndex)}, {"Link", "<?again>; rel=next"}},
       .body = R"({"schemaVersion":2,"manifests":[]})"},
      1000);
  EXPECT_EQ(repository().referrers(subject_.digest).error().code, Code::kExhausted);

  registry_.forget_faults();
  registry_.inject("/referrers/", {.status = 200,
                                   .headers = {{"Content-Type", std::string(oci::kOciIndex)},
                                               {"Link", "<http://localhost:1/>; rel=next"}},
                                   .body = R"({"schemaVersion":2,"manifests":[]})"});
  EXPECT_EQ(repository().referrers(subject_.digest).error().code, Code::kDenied);
}

TEST_F(RemoteReferrers, AreNotReadForEverWhenTheirAnnotationsAreLarge) {
  oci::Index page;
  page.media_type = oci::kOciIndex;
  page.manifests.push_back(subject_);
  page.manifests.back().annotations["large"] = std::string(3 << 20, 'x');
  registry_.inject(
      "/referrers/",
      {.status = 200,
       .headers = {{"Content-Type", std::string(oci::kOciIndex)}, {"Link", "<?again>; rel=next"}},
       .body = oci::to_json(page)},
      1000);

  // Of a type that none of them has: what is thrown away counts, too.
  const auto found = repository().referrers(subject_.digest, {.artifact_types = {"type/a"}});

  EXPECT_EQ(found.error().code, Code::kExhausted);
  EXPECT_LE(registry_.count("/referrers/"), 6u) << "16 MiB are no more pages of 3 MiB";
}

TEST_F(RemoteReferrers, AreKeptBrieflyWithoutWhatCanBeLarge) {
  for (const bool api : {true, false}) {
    registry_.set({.referrers_api = api});
    auto expected = repository().push_referrer(referrer("1", "type/a"));
    ASSERT_TRUE(expected) << expected.error().message;
    ASSERT_TRUE(repository().push_referrer(referrer("2", "type/b")));
    ASSERT_FALSE(expected->annotations.empty());
    expected->annotations.clear();

    const auto found = repository().referrers(
        subject_.digest, {.artifact_types = {"type/a", "type/c"}, .briefly = true});

    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->manifests, std::vector{*expected}) << "api " << api;
  }
}

TEST_F(RemoteReferrers, AreNotWaitedForPageAfterPage) {
  small_ = 500ms;
  registry_.inject(
      "/referrers/",
      {.status = 200,
       .headers = {{"Content-Type", std::string(oci::kOciIndex)}, {"Link", "<?again>; rel=next"}},
       .body = R"({"schemaVersion":2,"manifests":[]})",
       .delay_ms = 50},
      1000);

  EXPECT_EQ(repository().referrers(subject_.digest).error().code, Code::kUnavailable);
  EXPECT_LT(registry_.count("/referrers/"), 50u);
}

TEST_F(RemoteReferrers, OfNothingAreAnEmptyList) {
  for (const bool api : {true, false}) {
    registry_.set({.referrers_api = api});

    auto found = repository().referrers(subject_.digest);

    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->manifests.empty());
  }
}

TEST_F(RemoteReferrers, AreListedUnderATagWithoutTheApi) {
  registry_.set({.referrers_api = false});

  auto first = repository().push_referrer(referrer("1", "type/a"));
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_TRUE(repository().push_referrer(referrer("2", "type/b")));

  EXPECT_EQ(marks(*repository().referrers(subject_.digest)), (std::vector<std::string>{"1", "2"}));
  const auto a = repository().referrers(subject_.digest, {.artifact_types = {"type/a"}});
  ASSERT_EQ(a->manifests.size(), 1u);
  EXPECT_EQ(a->manifests.front(), *first);
}

TEST_F(RemoteReferrers, ArePushedTwiceWithoutAChange) {
  registry_.set({.referrers_api = false});
  ASSERT_TRUE(repository().push_referrer(referrer("1", "type/a")));
  const auto before = registry_.manifest("team/app", oci::fallback_tag(subject_.digest));
  registry_.forget_seen();

  ASSERT_TRUE(repository().push_referrer(referrer("1", "type/a")));

  EXPECT_EQ(registry_.manifest("team/app", oci::fallback_tag(subject_.digest)), before);
  EXPECT_EQ(registry_.count("PUT /v2/team/app/manifests/sha256-"), 0u);
}

TEST_F(RemoteReferrers, SurviveAnotherWriterOfTheList) {
  registry_.set({.referrers_api = false});
  // The other one writes its own list right after ours: ours must come back.
  ASSERT_TRUE(repository().push_referrer(referrer("other", "type/a")));
  const std::string tag = oci::fallback_tag(subject_.digest);
  registry_.inject("PUT /v2/team/app/manifests/" + tag, {.status = 201});  // swallowed

  ASSERT_TRUE(repository().push_referrer(referrer("mine", "type/a")));

  EXPECT_EQ(marks(*repository().referrers(subject_.digest)),
            (std::vector<std::string>{"mine", "other"}));
}

TEST_F(RemoteReferrers, ATagThatIsNoListIsNotOverwritten) {
  registry_.set({.referrers_api = false});
  const std::string tag = oci::fallback_tag(subject_.digest);
  registry_.add_manifest("team/app", tag, std::string(oci::kOciManifest), manifest_json("x"));

  auto pushed = repository().push_referrer(referrer("1", "type/a"));

  ASSERT_FALSE(pushed);
  EXPECT_NE(pushed.error().message.find(tag), std::string::npos);
  EXPECT_EQ(registry_.manifest("team/app", tag), manifest_json("x"));
}

}  // namespace
}  // namespace runnel::remote
