#include "registry/attributes.h"

#include <gtest/gtest.h>

#include "meta/sqlite_store.h"
#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

class AttributesTest : public testing::Test {
 protected:
  void off(std::string_view repository, std::string_view reference, Attribute attribute) {
    ASSERT_TRUE(change_attributes(*store_, repository, reference, switching_off(attribute)));
  }
  static ChangeAttributes switching_off(Attribute attribute) {
    return [attribute](Attributes& each) -> std::expected<void, Refusal> {
      each.set(attribute, false);
      return {};
    };
  }
  RepositoryAttributes of(std::string_view repository) {
    return RepositoryAttributes::load(*store_, repository).value();
  }

  test::FakeClock clock_;
  test::TempDir directory_;
  std::unique_ptr<meta::MetadataStore> store_ =
      meta::SqliteStore::open(directory_.path() + "/db", clock_).value();
};

TEST_F(AttributesTest, AreAllOnWhereNobodySwitchedOneOff) {
  EXPECT_TRUE(of("team/app").all().empty());
  EXPECT_EQ(of("team/app").own(), Attributes());
}

TEST_F(AttributesTest, BelongToOneRepositoryAndNotToItsNeighbours) {
  off("team/app", "*", Attribute::kWrite);
  off("team/app", "v1", Attribute::kDelete);

  const auto app = of("team/app");

  EXPECT_FALSE(app.own().has(Attribute::kWrite));
  EXPECT_FALSE(app.has(Attribute::kWrite, "v1"));
  EXPECT_FALSE(app.has(Attribute::kDelete, "v1"));
  EXPECT_TRUE(app.has(Attribute::kDelete, "v2"));

  for (const auto* other :
       {"team", "team/ap", "team/app2", "team/app-2", "team/app/x", "team/app.x"})
    EXPECT_TRUE(of(other).all().empty()) << other;
}

TEST_F(AttributesTest, AreAllFoundHoweverManyThereAre) {
  for (int i = 0; i < 40; ++i) off("a", fmt::format("t{}", i), Attribute::kList);
  off("b", "*", Attribute::kList);

  EXPECT_EQ(of("a").all().size(), 40);
  EXPECT_TRUE(of("a").own().has(Attribute::kList));
}

TEST_F(AttributesTest, OfOtherNamesCostARequestNothing) {
  int calls = 0;
  test::MemoryMetadataStore store(test::MemoryMetadataStore::new_data(), clock_, [&] { ++calls; });
  for (int i = 0; i < 2000; ++i)
    ASSERT_TRUE(
        change_attributes(store, "a", fmt::format("t{}", i), switching_off(Attribute::kRead)));
  ASSERT_TRUE(store.link_blob("b", oci::Digest::of({}), 0));
  Route route;
  route.kind = Route::Kind::kManifest;
  route.repository = "a";
  route.target = "t2000";
  const auto calls_for = [&](Attribute attribute) {
    calls = 0;
    EXPECT_TRUE(check_attributes(store, attribute, route));
    return calls;
  };

  EXPECT_LE(calls_for(Attribute::kRead), 4);
  EXPECT_LE(calls_for(Attribute::kWrite), 4);
  EXPECT_LE(calls_for(Attribute::kDelete), 4);
  route.repository = "b";
  EXPECT_EQ(calls_for(Attribute::kRead), 1);
  route.repository = "a";
  route.target = "t1999";
  EXPECT_FALSE(check_attributes(store, Attribute::kRead, route));
}

TEST_F(AttributesTest, LoseNoChangeWhenTwoAreMadeAtOnce) {
  const auto data = test::MemoryMetadataStore::new_data();
  test::MemoryMetadataStore other(data, clock_);
  int calls = 0;
  test::MemoryMetadataStore slow(data, clock_, [&] {
    // Between its reading and its writing.
    if (++calls == 2)
      EXPECT_TRUE(change_attributes(other, "a", "*", switching_off(Attribute::kWrite)));
  });

  const auto changed = change_attributes(slow, "a", "*", switching_off(Attribute::kDelete));

  ASSERT_TRUE(changed);
  EXPECT_FALSE(changed->has(Attribute::kWrite));
  const auto found = RepositoryAttributes::load(other, "a").value().own();
  EXPECT_EQ(found, *changed);
  EXPECT_FALSE(found.has(Attribute::kDelete));
}

TEST_F(AttributesTest, OfTheRepositoryAreNotTakenAwayByAPushThatNamesThem) {
  ASSERT_TRUE(store_->link_blob("a", oci::Digest::of({}), 0));
  off("a", "*", Attribute::kWrite);
  off("a", "v1", Attribute::kList);
  Route route;
  route.kind = Route::Kind::kManifest;
  route.repository = "a";
  route.target = "*";
  ASSERT_TRUE(begin_names_anew(*store_, route));
  EXPECT_FALSE(of("a").own().has(Attribute::kWrite));

  // The tag that is not there is begun anew, and nothing else is.
  route.target = "v1";
  ASSERT_TRUE(begin_names_anew(*store_, route, {"*"}));
  EXPECT_FALSE(of("a").own().has(Attribute::kWrite));
  EXPECT_EQ(of("a").all().size(), 1u);
}

TEST_F(AttributesTest, AreRefusedWithTheRule) {
  off("a/b", "v1", Attribute::kDelete);
  Route route;
  route.kind = Route::Kind::kManifest;
  route.repository = "a/b";
  route.target = "v1";

  const auto refused = check_attributes(*store_, Attribute::kDelete, route);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 405);
  EXPECT_TRUE(refused.error().detail.contains("deleteEnabled is false on a/b:v1"));
  EXPECT_TRUE(check_attributes(*store_, Attribute::kRead, route));
  EXPECT_FALSE(check_repository_attributes(*store_, Attribute::kDelete, "a/b"));
  EXPECT_TRUE(check_repository_attributes(*store_, Attribute::kWrite, "a/b"));
}

}  // namespace
}  // namespace runnel::registry
