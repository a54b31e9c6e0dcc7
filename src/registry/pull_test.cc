// Reading blobs, over HTTP, and what the API says to requests that name nothing.
#include <gtest/gtest.h>

#include <filesystem>

#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

using net::Header;

class Pull : public test::RegistryOverStores {
 protected:
  std::string push(std::string_view text) {
    return "/v2/a/blobs/" + push_blob("a", text).to_string();
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Pull, test::all_stores(), test::name_of_stores);

TEST_P(Pull, AnswersThePing) {
  const auto answer = get("/v2/");

  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Docker-Distribution-API-Version"), "registry/2.0");
  EXPECT_EQ(get("/v2").status, 200);
}

TEST_P(Pull, GivesABlobWithItsHeaders) {
  const auto path = push("0123456789");
  const auto digest = oci::Digest::of(as_bytes("0123456789")).to_string();

  const auto got = get(path);
  const auto head = send("HEAD", path);

  for (const auto& answer : {got, head}) {
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("Content-Length"), "10");
    EXPECT_EQ(answer.header("Content-Type"), "application/octet-stream");
    EXPECT_EQ(answer.header("Docker-Content-Digest"), digest);
    EXPECT_EQ(answer.header("ETag"), "\"" + digest + "\"");
    EXPECT_EQ(answer.header("Accept-Ranges"), "bytes");
    EXPECT_EQ(answer.header("Content-Encoding"), "(none)");
  }
  EXPECT_EQ(got.body, "0123456789");
  EXPECT_EQ(head.body, "");
}

TEST_P(Pull, GivesRanges) {
  const auto path = push("0123456789");
  const auto range = [&](const std::string& spec) {
    const auto answer = get(path, {Header("Range", "bytes=" + spec)});
    return fmt::format("{} {} {}", answer.status, answer.header("Content-Range"), answer.body);
  };

  EXPECT_EQ(range("2-5"), "206 bytes 2-5/10 2345");
  EXPECT_EQ(range("0-0"), "206 bytes 0-0/10 0");
  EXPECT_EQ(range("7-"), "206 bytes 7-9/10 789");
  EXPECT_EQ(range("-3"), "206 bytes 7-9/10 789");
  EXPECT_EQ(range("-500"), "206 bytes 0-9/10 0123456789");
  EXPECT_EQ(range("5-500"), "206 bytes 5-9/10 56789");
  EXPECT_TRUE(range("10-").starts_with("416 bytes */10"));
  EXPECT_TRUE(range("500-0").starts_with("416 bytes */10"));
  EXPECT_EQ(range("0-1,3-4"), "200 (none) 0123456789");
  EXPECT_EQ(range("nonsense"), "200 (none) 0123456789");
}

TEST_P(Pull, GivesARangeOnlyOfWhatTheClientHasSeen) {
  const auto path = push("0123456789");
  const auto etag = get(path).header("ETag");

  EXPECT_EQ(get(path, {Header("Range", "bytes=0-1"), Header("If-Range", etag)}).status, 206);
  EXPECT_EQ(get(path, {Header("Range", "bytes=0-1"), Header("If-Range", "\"x\"")}).status, 200);
  EXPECT_EQ(get(path, {Header("If-None-Match", etag)}).status, 304);
  EXPECT_EQ(get(path, {Header("If-None-Match", "\"x\"")}).status, 200);
}

TEST_P(Pull, ShowsABlobOnlyInTheRepositoryThatHasIt) {
  const auto digest = push_blob("a", "secret").to_string();
  push_blob("b", "other");

  for (const auto* method : {"GET", "HEAD", "DELETE"})
    EXPECT_EQ(send(method, "/v2/b/blobs/" + digest).status, 404) << method;
  EXPECT_NE(get("/v2/b/blobs/" + digest).body.find("BLOB_UNKNOWN"), std::string::npos);
}

TEST_P(Pull, RefusesABadDigest) {
  EXPECT_EQ(get("/v2/a/blobs/sha256:baddigeststring").status, 400);
  EXPECT_EQ(get("/v2/a/blobs/x").status, 400);
}

TEST_P(Pull, FindsAnEscapedDigest) {
  auto path = push("x");
  path.replace(path.find("sha256:"), 7, "sha256%3A");

  EXPECT_EQ(get(path).body, "x");
}

TEST_P(Pull, ForgetsADeletedBlob) {
  const auto path = push("x");

  EXPECT_EQ(send("DELETE", path).status, 202);

  EXPECT_EQ(send("HEAD", path).status, 404);
  EXPECT_EQ(send("DELETE", path).status, 404);
}

TEST_P(Pull, KeepsBlobsOverARestart) {
  const auto path = push("x");

  restart();

  EXPECT_EQ(get(path).body, "x");
}

TEST_P(Pull, AnswersErrorsAsTheSpecificationHasThem) {
  const auto unknown = get("/v1/x");
  const auto method = send("POST", "/v2/a/tags/list");

  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.header("Content-Type"), "application/json; charset=utf-8");
  EXPECT_TRUE(unknown.body.starts_with("{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\""));
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header("Allow"), "GET, HEAD");
}

TEST(Registry, ListensWhereOthersCannotReachItOnly) {
  const test::TempDir directory;
  const SystemClock clock;
  Config config;
  config.data = directory.path() + "/data";
  config.port = 0;

  for (const auto* address : {"0.0.0.0", "::", "192.0.2.1", "example.com", ""}) {
    config.address = address;
    const auto registry = Registry::start(config, clock);
    ASSERT_FALSE(registry) << address;
    EXPECT_EQ(registry.error().code, Code::kDenied);
    EXPECT_NE(registry.error().message.find("127.0.0.1"), std::string::npos);
  }
}

TEST(Registry, DoesNotBeginAnewWhenOnlyItsBlobsAreGone) {
  const test::TempDir directory;
  const SystemClock clock;
  Config config;
  config.data = directory.path() + "/data";
  config.port = 0;
  ASSERT_TRUE(Registry::start(config, clock));
  std::filesystem::rename(config.data + "/content", config.data + "/elsewhere");

  const auto registry = Registry::start(config, clock);

  ASSERT_FALSE(registry);
  EXPECT_EQ(registry.error().code, Code::kConflict);
}

}  // namespace
}  // namespace runnel::registry
