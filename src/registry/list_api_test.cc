// The catalog of callers who may see some repositories only.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "registry/manifest_api.h"
#include "support/fake_clock.h"
#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;

using Names = std::vector<std::string>;

class CatalogTest : public testing::Test {
 protected:
  void make(const std::string& repository) {
    ASSERT_TRUE(metadata_.link_blob(repository, oci::Digest::of(as_bytes("blob")), 1));
  }
  // What the caller may see by these patterns, in pages of `n`.
  Names catalog(const Names& patterns, size_t n) {
    access::Grants grants;
    for (const auto& each : patterns) grants.emplace_back(each, access::role("AcrPull").value());
    grants.emplace_back("secret/*", access::Actions{access::Action::kContentRead});
    const Caller caller(access::Principal(access::Principal::Kind::kUser, "alice"), grants,
                        std::nullopt);
    Names found;
    for (bool more = true; more;) {
      net::Request request;
      request.query.add("n", std::to_string(n));
      if (!found.empty()) request.query.add("last", found.back());
      const auto answer = list_repositories(services_, caller, request).value();
      const auto body = json::parse(std::get<std::string>(answer.body));
      const auto page = json::value_to<Names>(body.at("repositories"));
      EXPECT_LE(page.size(), n);
      found.insert(found.end(), page.begin(), page.end());
      more = answer.headers.first("Link").has_value();
    }
    return found;
  }

  const test::FakeClock clock_;
  const Config config_;
  size_t calls_ = 0;
  test::MemoryBlobStore blobs_;
  test::MemoryMetadataStore metadata_{test::MemoryMetadataStore::new_data(), clock_,
                                      [this] { ++calls_; }};
  Uploads uploads_{blobs_, metadata_, clock_, std::chrono::hours(1)};
  WorkerPool pool_{1};
  Services services_{config_, blobs_, metadata_, uploads_, nullptr, clock_, pool_, pool_};
};

TEST_F(CatalogTest, HasEachRepositoryOnceThatSomePatternMeans) {
  for (const auto* name : {"a", "a/b", "a/b/c", "a-b", "ab", "b", "secret/x", "z/z"}) make(name);
  for (size_t n = 1; n < 9; ++n) {
    EXPECT_EQ(catalog({"*"}, n), (Names{"a", "a-b", "a/b", "a/b/c", "ab", "b", "secret/x", "z/z"}));
    EXPECT_EQ(catalog({"a*", "a", "a/*"}, n), (Names{"a", "a-b", "a/b", "a/b/c", "ab"}));
    EXPECT_EQ(catalog({"a/*", "a", "b", "absent"}, n), (Names{"a", "a/b", "a/b/c", "b"}));
    EXPECT_EQ(catalog({"z/z", "a/b", "a/b*", "a/b/*"}, n), (Names{"a/b", "a/b/c", "z/z"}));
    EXPECT_EQ(catalog({}, n), Names{});
  }
}

TEST_F(CatalogTest, LooksAtNoRepositoryThatTheCallerMayNotSee) {
  for (int i = 0; i < 1000; ++i) make(fmt::format("other/{}", i));
  make("team/app");
  make("zoo");
  calls_ = 0;

  EXPECT_EQ(catalog({"team/*", "zoo"}, 1), (Names{"team/app", "zoo"}));

  EXPECT_LT(calls_, 40u);
}

}  // namespace
}  // namespace runnel::registry
