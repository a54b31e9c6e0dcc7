// Deletions and their way back, over HTTP.
#include <boost/json.hpp>

#include "meta/sqlite_store.h"
#include "registry/held_tags.h"
#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;

constexpr auto kRoot = "/runnel/v1/_soft-delete";

class SoftDelete : public test::RegistryOverStores {
 protected:
  json::array deletions(const std::string& query = {}) {
    const auto answer = get(kRoot + query);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body).at("deletions").as_array();
  }
  std::string last_id() { return std::to_string(deletions().at(0).at("id").as_int64()); }
  // As another process on the same data.
  std::unique_ptr<meta::MetadataStore> open_store() {
    if (GetParam() == test::Stores::kSlowMemory)
      return std::make_unique<test::MemoryMetadataStore>(memory_.metadata, clock_);
    return meta::SqliteStore::open(config_.data + "/metadata.sqlite", clock_).value();
  }
  int status_of(const std::string& target) { return get("/v2/a/manifests/" + target).status; }
};

INSTANTIATE_TEST_SUITE_P(Over, SoftDelete, test::all_stores(), test::name_of_stores);

TEST_P(SoftDelete, ADeletedManifestIsGoneUntilItIsRestored) {
  const auto bytes = push_image("a", "v1", {"layer"});
  const auto digest = oci::Digest::of(as_bytes(bytes)).to_string();

  EXPECT_EQ(send("DELETE", "/v2/a/manifests/" + digest).status, 202);
  EXPECT_EQ(status_of(digest), 404);
  EXPECT_EQ(status_of("v1"), 404);
  const auto found = deletions().at(0).as_object();
  EXPECT_EQ(found.at("kind").as_string(), "manifest");
  EXPECT_EQ(found.at("digest").as_string(), digest);
  EXPECT_EQ(found.at("tags").as_array(), json::array{"v1"});
  EXPECT_EQ(get(std::string(kRoot) + "/" + last_id()).status, 200);

  const auto restored = send("POST", std::string(kRoot) + "/" + last_id() + ":restore");
  EXPECT_EQ(restored.status, 200);
  EXPECT_EQ(json::parse(restored.body).at("tags").as_array(), json::array{"v1"});
  EXPECT_EQ(get("/v2/a/manifests/v1").body, bytes);
  EXPECT_TRUE(deletions().empty());
}

TEST_P(SoftDelete, AnOverwrittenTagComesBack) {
  const auto one = push_image("a", "v1", {"layer"}, "one");
  push_image("a", "v1", {"layer"}, "two");
  EXPECT_EQ(deletions().at(0).at("kind").as_string(), "overwrite");

  EXPECT_EQ(send("POST", std::string(kRoot) + "/" + last_id() + ":restore").status, 200);

  EXPECT_EQ(get("/v2/a/manifests/v1").body, one);
}

TEST_P(SoftDelete, WhatComesBackWithATagTakesNoOtherTagThatWasPushedAgain) {
  const auto one = push_image("a", "v1", {"layer"}, "one");
  const auto two = push_image("a", "v1", {"layer"}, "two");
  const auto path = "/acr/v1/_deleted/a/_manifests/" + digest_of(one);

  const auto restored = send("POST", path, R"({"tag":"v2"})");

  EXPECT_EQ(restored.status, 200) << restored.body;
  EXPECT_EQ(json::parse(restored.body).at("tags").as_array(), json::array{"v2"});
  EXPECT_EQ(get("/v2/a/manifests/v2").body, one);
  EXPECT_EQ(get("/v2/a/manifests/v1").body, two) << "nobody said that it may be moved";
}

TEST_P(SoftDelete, AnOverwrittenTagThatNobodyNamedIsMovedOnlyByForce) {
  const auto one = push_image("a", "v1", {"layer"}, "one");
  const auto two = push_image("a", "v1", {"layer"}, "two");
  const auto path = "/acr/v1/_deleted/a/_manifests/" + digest_of(one);

  EXPECT_EQ(send("POST", path).status, 409);
  EXPECT_EQ(get("/v2/a/manifests/v1").body, two);

  EXPECT_EQ(send("POST", path + "?force=true").status, 200);
  EXPECT_EQ(get("/v2/a/manifests/v1").body, one);
}

TEST_P(SoftDelete, NothingComesBackUnderWhatIsNoTag) {
  const auto digest = digest_of(push_image("a", "v1", {"layer"}));
  EXPECT_EQ(send("DELETE", "/v2/a/manifests/" + digest).status, 202);
  const auto path = "/acr/v1/_deleted/a/_manifests/" + digest;

  const std::vector<std::string> none = {"a tag", "-v", "sha256:1", std::string(129, 'v')};
  for (const auto& tag : none)
    EXPECT_EQ(send("POST", path, fmt::format(R"({{"tag":"{}"}})", tag)).status, 400) << tag;

  EXPECT_EQ(status_of(digest), 404);
  EXPECT_EQ(send("POST", path, R"({"tag":""})").status, 200);
  EXPECT_EQ(get("/v2/a/tags/list").body, R"({"name":"a","tags":["v1"]})");
}

TEST_P(SoftDelete, ARepositoryIsDeletedAndRestored) {
  push_image("a", "v1", {"layer"});
  EXPECT_EQ(send("DELETE", "/acr/v1/a").status, 202);
  EXPECT_EQ(get("/v2/a/tags/list").status, 404);
  EXPECT_EQ(send("DELETE", "/acr/v1/a").status, 404);
  EXPECT_EQ(send("DELETE", "/acr/v1/A").status, 400);

  EXPECT_EQ(send("POST", std::string(kRoot) + "/" + last_id() + ":restore").status, 200);

  EXPECT_EQ(status_of("v1"), 200);
}

TEST_P(SoftDelete, WhatIsForgottenCannotComeBack) {
  push_image("a", "v1", {"layer"});
  send("DELETE", "/v2/a/manifests/v1");
  const auto path = std::string(kRoot) + "/" + last_id();

  EXPECT_EQ(send("DELETE", path).status, 204);
  EXPECT_EQ(send("DELETE", path).status, 404);
  EXPECT_EQ(send("POST", path + ":restore").status, 404);
  EXPECT_EQ(get(std::string(kRoot) + "/x").status, 404);
  EXPECT_EQ(send("PUT", path).status, 405);
}

TEST_P(SoftDelete, ATagThatWaitsGoesWithItsManifestAndWithItsRepository) {
  const auto digest = oci::Digest::of(as_bytes(push_image("a", "v1", {"layer"})));
  const auto store = open_store();
  const auto wait = [&](const std::string& tag) {
    meta::NewManifest waiting;
    waiting.digest = digest;
    waiting.tags = {tag};
    hold_tags(waiting, "a", clock_.wall(), std::chrono::hours(1));
    const auto& [kind, name, body] = waiting.documents.at(0);
    ASSERT_TRUE(store->put_document(kind, name, body, 0));
  };
  const auto waiting = [&] { return store->documents("held-tag", "", 10)->size(); };

  wait("v2");
  EXPECT_EQ(send("DELETE", "/v2/a/manifests/" + digest.to_string()).status, 202);
  EXPECT_EQ(waiting(), 0u) << "it would come when the manifest is pushed again";

  push_image("a", "v1", {"layer"});
  wait("v2");
  EXPECT_EQ(send("DELETE", "/acr/v1/a").status, 202);
  EXPECT_EQ(waiting(), 0u);
}

TEST_P(SoftDelete, ListsInPagesAndByRepository) {
  for (const auto* repository : {"a", "b"}) {
    push_image(repository, "v1", {"layer"}, "one");
    push_image(repository, "v1", {"layer"}, "two");
    push_image(repository, "v1", {"layer"}, "three");
  }

  EXPECT_EQ(deletions().size(), 4u);
  EXPECT_EQ(deletions("?repository=a").size(), 2u);
  const auto page = get(std::string(kRoot) + "?repository=a&n=1");
  const auto link = page.header("Link");
  ASSERT_TRUE(link.starts_with("<")) << link;
  const auto next = get(link.substr(1, link.find('>') - 1));
  EXPECT_EQ(json::parse(next.body).at("deletions").as_array().size(), 1u);
  EXPECT_EQ(next.header("Link"), "(none)");
  EXPECT_EQ(get(std::string(kRoot) + "?n=x").status, 400);
}

TEST_P(SoftDelete, KeepsNothingWhenItIsSwitchedOff) {
  config_.soft_delete = false;
  restart();
  push_image("a", "v1", {"layer"}, "one");
  push_image("a", "v1", {"layer"}, "two");
  send("DELETE", "/v2/a/manifests/v1");
  EXPECT_EQ(send("DELETE", "/acr/v1/a").status, 202);

  EXPECT_TRUE(deletions().empty());
}

TEST_P(SoftDelete, RefusesToDeleteWhereDeletionIsOff) {
  push_image("a", "v1", {"layer"});
  config_.deletion = false;
  restart();

  EXPECT_EQ(send("DELETE", "/acr/v1/a").status, 405);
  EXPECT_EQ(status_of("v1"), 200);
}

}  // namespace
}  // namespace runnel::registry
