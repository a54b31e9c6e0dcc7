#include "registry/route.h"

#include <gtest/gtest.h>

namespace runnel::registry {
namespace {

using Kind = Route::Kind;

void expect(std::string_view path, Kind kind, std::string_view repository,
            std::string_view target) {
  const auto route = parse_route(path);
  ASSERT_TRUE(route) << path;
  EXPECT_EQ(route->kind, kind) << path;
  EXPECT_EQ(route->repository, repository) << path;
  EXPECT_EQ(route->target, target) << path;
}

TEST(Route, FindsEveryResource) {
  expect("/v2", Kind::kBase, "", "");
  expect("/v2/", Kind::kBase, "", "");
  expect("/v2/_catalog", Kind::kCatalog, "", "");
  expect("/v2/a/b/tags/list", Kind::kTags, "a/b", "");
  expect("/v2/a/manifests/latest", Kind::kManifest, "a", "latest");
  expect("/v2/a/b/c/manifests/sha256:12", Kind::kManifest, "a/b/c", "sha256:12");
  expect("/v2/a/referrers/sha256:12", Kind::kReferrers, "a", "sha256:12");
  expect("/v2/a/blobs/sha256:12", Kind::kBlob, "a", "sha256:12");
  expect("/v2/a/blobs/uploads", Kind::kUploads, "a", "");
  expect("/v2/a/b/blobs/uploads/", Kind::kUploads, "a/b", "");
  expect("/v2/a/blobs/uploads/0123", Kind::kUpload, "a", "0123");
}

TEST(Route, LetsRepositoriesHaveComponentsNamedLikeOurs) {
  expect("/v2/tags/list/tags/list", Kind::kTags, "tags/list", "");
  expect("/v2/manifests/manifests/x", Kind::kManifest, "manifests", "x");
  expect("/v2/a/blobs/manifests/x", Kind::kManifest, "a/blobs", "x");
}

TEST(Route, IsNoneForOtherPaths) {
  for (const auto* path : {"", "/", "/v1/", "/v2x", "/v2/a", "/v2/a/b/c", "/v2/tags/list",
                           "/v2//manifests", "/v2/manifests/x", "/v2/_catalog/x"})
    EXPECT_FALSE(parse_route(path)) << path;
}

}  // namespace
}  // namespace runnel::registry
