#include "remote/repository.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "base/durable.h"
#include "support/repository_fixture.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

// --- Manifests

TEST_F(RemoteRepository, ResolvesATagWithOneHead) {
  const std::string json = manifest_json("a");
  const auto digest =
      registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), json);

  auto resolved = repository().resolve("v1");

  ASSERT_TRUE(resolved) << resolved.error().message;
  EXPECT_EQ(resolved->digest, digest);
  EXPECT_EQ(resolved->size, json.size());
  EXPECT_EQ(resolved->media_type, oci::kOciManifest);
  EXPECT_EQ(registry_.seen().size(), 1u);
}

TEST_F(RemoteRepository, ResolvesWithGetWhereHeadDoesNotDo) {
  const std::string json = manifest_json("a");
  const auto digest =
      registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), json);
  for (const bool head : {false, true}) {
    registry_.set({.head_manifests = head, .digest_headers = false});

    auto resolved = repository().resolve("v1");

    ASSERT_TRUE(resolved) << resolved.error().message;
    EXPECT_EQ(resolved->digest, digest);
    EXPECT_EQ(resolved->size, json.size());
  }
}

TEST_F(RemoteRepository, AsksNobodyWhenTheHostsFileCannotBeFollowed) {
  const test::TempDir hosts;
  ASSERT_TRUE(make_directories(hosts.path() + "/" + registry_.host()));
  ASSERT_TRUE(replace_file(hosts.path() + "/" + registry_.host() + "/hosts.toml",
                           as_bytes("server = \"https://harbor.example/v2/hub\"\n")));
  hosts_.set_directory(hosts.path());

  const auto got = repository().manifest("v1");

  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("a path other than /v2"), std::string::npos)
      << got.error().message;
  EXPECT_TRUE(registry_.seen().empty());
}

TEST_F(RemoteRepository, AnAbsentManifestIsNotFoundInTheRegistrysWords) {
  auto resolved = repository().resolve("v1");

  ASSERT_FALSE(resolved);
  EXPECT_EQ(resolved.error().code, Code::kNotFound);
  EXPECT_EQ(resolved.error().message, registry_.host() +
                                          "/team/app: manifest v1: GET answered 404 Not Found: "
                                          "MANIFEST_UNKNOWN: no manifest v1");
}

TEST_F(RemoteRepository, GivesAManifestsExactBytes) {
  const std::string json = manifest_json("a") + " \n";
  const auto digest =
      registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), json);

  for (const std::string& reference : {std::string("v1"), digest.to_string()}) {
    auto got = repository().manifest(reference);

    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(as_text(got->bytes), json);
    EXPECT_EQ(got->digest, digest);
    EXPECT_EQ(got->media_type, oci::kOciManifest);
  }
}

TEST_F(RemoteRepository, RefusesAManifestThatWasChangedOnTheWay) {
  const auto digest =
      registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), manifest_json("a"));
  registry_.set({.digest_headers = false});
  registry_.inject("GET /v2/team/app/manifests", {.corrupt = true});

  auto got = repository().manifest(digest.to_string());

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
}

TEST_F(RemoteRepository, BoundsAManifest) {
  registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), manifest_json("a"));

  auto got = repository().manifest("v1", 10);

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kExhausted);
}

TEST_F(RemoteRepository, TakesTheTypeFromTheDocumentWhenTheRegistryDoesNotSay) {
  registry_.add_manifest("team/app", "v1", "application/json", manifest_json("a"));

  auto got = repository().manifest("v1");

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->media_type, oci::kOciManifest);
}

TEST_F(RemoteRepository, PushesAndDeletesManifests) {
  const std::string json = manifest_json("a");

  auto pushed = repository().push_manifest("v1", oci::kOciManifest, as_bytes(json));
  ASSERT_TRUE(pushed) << pushed.error().message;
  EXPECT_EQ(pushed->digest, oci::Digest::of(as_bytes(json)));
  EXPECT_FALSE(pushed->subject_seen);
  EXPECT_EQ(registry_.manifest("team/app", "v1"), json);

  EXPECT_TRUE(repository().delete_manifest(pushed->digest.to_string()));
  EXPECT_EQ(registry_.manifest("team/app", "v1"), std::nullopt);
  EXPECT_EQ(repository().delete_manifest(pushed->digest.to_string()).error().code, Code::kNotFound);
}

TEST_F(RemoteRepository, TriesAgainWhatMayPass) {
  registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), manifest_json("a"));
  registry_.inject("GET /v2/", {.status = 503});
  registry_.inject("GET /v2/", {.status = 429, .headers = {{"Retry-After", "0"}}});
  registry_.inject("GET /v2/", {.cut_after = 3});

  auto got = repository().manifest("v1");

  EXPECT_TRUE(got) << got.error().message;
  EXPECT_EQ(registry_.seen().size(), 4u);
}

TEST_F(RemoteRepository, GivesUpAfterItsAttempts) {
  registry_.inject("GET /v2/",
                   {.status = 503, .headers = {{"Content-Type", "text/plain"}}, .body = "full"},
                   100);

  auto got = repository().manifest("v1");

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_NE(got.error().message.find("503 Service Unavailable: full"), std::string::npos);
  EXPECT_EQ(registry_.seen().size(), 4u);
}

TEST_F(RemoteRepository, DoesNotSleepForAnHourBecauseARegistryAsks) {
  registry_.inject("GET /v2/", {.status = 429, .headers = {{"Retry-After", "3600"}}}, 100);

  auto got = repository().manifest("v1");

  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_EQ(registry_.seen().size(), 1u);
}

// A process that ends would wait for it.
TEST_F(RemoteRepository, RestsNoLongerBetweenAttemptsThanItsClientWorks) {
  registry_.inject("GET /v2/", {.status = 429, .headers = {{"Retry-After", "50"}}}, 100);
  auto got = std::async(std::launch::async, [&] { return repository().manifest("v1"); });
  while (registry_.seen().empty()) std::this_thread::yield();

  client_.shutdown();

  EXPECT_NE(got.wait_for(10s), std::future_status::timeout);
  EXPECT_FALSE(got.get());
}

TEST_F(RemoteRepository, UnderstandsWhenToComeBackAsADate) {
  registry_.add_manifest("team/app", "v1", std::string(oci::kOciManifest), manifest_json("a"));
  registry_.inject("GET /v2/",
                   {.status = 429, .headers = {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}}});
  EXPECT_TRUE(repository().manifest("v1"));
  EXPECT_EQ(registry_.seen().size(), 2u);

  registry_.inject("GET /v2/",
                   {.status = 429, .headers = {{"Retry-After", "Sun, 06 Nov 2994 08:49:37 GMT"}}},
                   100);
  EXPECT_EQ(repository().manifest("v1").error().code, Code::kUnavailable);
  EXPECT_EQ(registry_.seen().size(), 3u);
}

TEST_F(RemoteRepository, AStalledRegistryIsUnavailableInTime) {
  stall_ = 50ms;
  registry_.inject("GET /v2/", {.stall = true}, 100);
  const auto start = std::chrono::steady_clock::now();

  auto got = repository().manifest("v1");

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_EQ(registry_.seen().size(), 1u) << "its time was used up";
}

TEST_F(RemoteRepository, ARegistryThatIsGoneIsUnavailable) {
  registry_.stop();

  auto got = repository().manifest("v1");

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_NE(got.error().message.find(registry_.host() + "/team/app: manifest v1"),
            std::string::npos);
}

// --- Blobs

TEST_F(RemoteRepository, ReadsABlobWhole) {
  const std::string bytes = pattern(9'000'000);
  registry_.add_blob(bytes);

  auto got = read(describe(bytes));

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(*got == bytes);
}

TEST_F(RemoteRepository, GoesOnWhereABlobStopped) {
  // Stopped and not cut: a reset connection would lose what is still in its buffers.
  stall_ = 200ms;
  const std::string bytes = pattern(1'000'000);
  registry_.add_blob(bytes);
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 300'000, .stall = true});
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 1'000, .stall = true});

  auto got = read(describe(bytes));

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(*got == bytes);
  const auto seen = registry_.seen();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].range, "");
  EXPECT_EQ(seen[1].range, "bytes=300000-");
  EXPECT_EQ(seen[2].range, "bytes=301000-");
}

TEST_F(RemoteRepository, AsksForTheRestWhenTheFirstPartIsConsumed) {
  const std::string bytes = pattern(1'000'000);
  registry_.add_blob(bytes);
  std::string got;
  size_t requests = 0;

  const auto outcome = repository().blob_in_parts(
      describe(bytes),
      [&](Bytes piece) -> Result<void> {
        got += as_text(piece);
        if (got.size() == 300'000) requests = registry_.seen().size();
        return {};
      },
      300'000);

  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(requests, 1u);
  const auto seen = registry_.seen();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].range, "bytes=0-299999");
  EXPECT_EQ(seen[1].range, "bytes=300000-");
}

TEST_F(RemoteRepository, EndsWithTheFirstPartWhenTheReaderWantsNoMore) {
  const std::string bytes = pattern(1'000'000);
  registry_.add_blob(bytes);
  size_t got = 0;

  const auto outcome = repository().blob_in_parts(
      describe(bytes),
      [&](Bytes piece) -> Result<void> {
        got += piece.size();
        return got < 300'000 ? Result<void>() : fail(Code::kCancelled, "enough");
      },
      300'000);

  EXPECT_EQ(outcome.error().code, Code::kCancelled);
  EXPECT_EQ(registry_.seen().size(), 1u);
}

TEST_F(RemoteRepository, GoesOnInTheFirstPartAndTakesAllWhereThereAreNoRanges) {
  stall_ = 200ms;
  const std::string bytes = pattern(1'000'000);
  registry_.add_blob(bytes);
  for (const bool ignored : {false, true}) {
    registry_.set({.ignore_ranges = ignored});
    registry_.inject("GET /v2/team/app/blobs", {.cut_after = 100'000, .stall = true});
    std::string got;

    const auto outcome = repository().blob_in_parts(
        describe(bytes),
        [&](Bytes piece) -> Result<void> {
          got += as_text(piece);
          return {};
        },
        300'000);

    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_TRUE(got == bytes);
  }
}

TEST_F(RemoteRepository, GoesOnAtARegistryWithoutRanges) {
  const std::string bytes = pattern(500'000);
  registry_.add_blob(bytes);
  registry_.set({.ignore_ranges = true});
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 300'000});

  auto got = read(describe(bytes));

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(*got == bytes);
}

TEST_F(RemoteRepository, IsNotKeptForEverByARegistryThatCutsAfterEveryByte) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 1}, 1000);

  auto got = read(describe(bytes));

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_EQ(registry_.seen().size(), 4u);
}

TEST_F(RemoteRepository, NeverPassesOffOtherBytesAsTheBlob) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);
  registry_.inject("GET /v2/team/app/blobs", {.corrupt = true});

  auto got = read(describe(bytes));

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
  EXPECT_NE(got.error().message.find("digest"), std::string::npos);
}

TEST_F(RemoteRepository, LeavesThePartsOfABlobToWhoVerifiesThem) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);
  registry_.inject("GET /v2/team/app/blobs", {.corrupt = true});
  std::string got;
  const auto append = [&](Bytes piece) -> Result<void> {
    got += as_text(piece);
    return {};
  };

  EXPECT_TRUE(repository().blob_in_parts(describe(bytes), append, 0));
  EXPECT_EQ(got.size(), bytes.size());
  EXPECT_FALSE(got == bytes);

  auto shorter = describe(bytes);
  shorter.size = 999;
  EXPECT_EQ(repository().blob_in_parts(shorter, append, 0).error().code, Code::kInvalid);
}

TEST_F(RemoteRepository, RefusesABlobOfAnotherSize) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);
  for (const uint64_t size : {999u, 1001u}) {
    auto descriptor = describe(bytes);
    descriptor.size = size;

    auto got = read(descriptor);

    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::kInvalid);
  }
}

TEST_F(RemoteRepository, RefusesToGoOnAtAnotherPlace) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 500});
  registry_.inject("GET /v2/team/app/blobs", {.wrong_range = true});

  auto got = read(describe(bytes));

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
}

TEST_F(RemoteRepository, AReaderThatGivesUpIsNotTriedAgain) {
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);

  auto got = repository().blob(describe(bytes), [](Bytes) -> Result<void> {
    return fail(Code::kUnavailable, "disk went away");
  });

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message, "disk went away");
  EXPECT_EQ(registry_.seen().size(), 1u);
}

TEST_F(RemoteRepository, ASlowReaderPausesTheTransfer) {
  const std::string bytes = pattern(20'000'000);
  registry_.add_blob(bytes);
  oci::Digester digester;

  auto got = repository().blob(describe(bytes), [&](Bytes piece) -> Result<void> {
    // Hashing twenty times takes longer than receiving.
    for (int i = 0; i < 20; ++i) digester.update(piece);
    return {};
  });

  EXPECT_TRUE(got) << got.error().message;
}

TEST_F(RemoteRepository, AnEmptyBlobIsABlob) {
  registry_.add_blob("");

  EXPECT_EQ(read(describe("")).value(), "");
  EXPECT_EQ(repository().blob_bytes(oci::Digest::of({}), 0).value(), Buffer());
}

TEST_F(RemoteRepository, ReadsSmallBlobsIntoMemoryWithALimit) {
  const auto digest = registry_.add_blob("hello");

  EXPECT_EQ(as_text(repository().blob_bytes(digest, 5).value()), "hello");
  EXPECT_EQ(repository().blob_bytes(digest, 4).error().code, Code::kExhausted);
  EXPECT_EQ(repository().blob_bytes(oci::Digest::of(as_bytes("x")), 4).error().code,
            Code::kNotFound);
}

TEST_F(RemoteRepository, GivesUpOnASmallBlobThatIsNotHereInTime) {
  const auto digest = registry_.add_blob("hello");
  registry_.inject("GET /v2/team/app/blobs", {.cut_after = 2, .stall = true}, 100);
  const auto start = std::chrono::steady_clock::now();

  const auto got = repository().blob_bytes(digest, 5, 2s);  // enough for the request to arrive

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s) << "less than the silence it may keep";
  EXPECT_EQ(registry_.seen().size(), 1u) << "its time was used up";
}

TEST_F(RemoteRepository, ReadsExactlyTheRange) {
  const std::string bytes = pattern(100'000);
  const auto digest = registry_.add_blob(bytes);

  auto got = repository().blob_range(digest, 5000, 70'000);

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(as_text(*got) == bytes.substr(5000, 70'000));
  EXPECT_EQ(registry_.seen().back().range, "bytes=5000-74999");
  EXPECT_TRUE(repository().blob_range(digest, 5, 0)->empty());
}

TEST_F(RemoteRepository, FindsTheRangeInAWholeBlobWhenItIsNear) {
  const std::string bytes = pattern(3'000'000);
  const auto digest = registry_.add_blob(bytes);
  registry_.set({.ignore_ranges = true});

  auto near = repository().blob_range(digest, 200'000, 1000);
  auto far = repository().blob_range(digest, 2'000'000, 1000);

  ASSERT_TRUE(near) << near.error().message;
  EXPECT_TRUE(as_text(*near) == bytes.substr(200'000, 1000));
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().code, Code::kUnsupported);
}

TEST_F(RemoteRepository, RefusesAnotherRangeAndOneBeyondTheEnd) {
  const auto digest = registry_.add_blob(pattern(1000));
  registry_.inject("GET /v2/team/app/blobs", {.wrong_range = true});

  EXPECT_EQ(repository().blob_range(digest, 10, 10).error().code, Code::kInvalid);
  EXPECT_EQ(repository().blob_range(digest, 900, 200).error().code, Code::kInvalid);
  EXPECT_EQ(repository().blob_range(digest, 2000, 1).error().code, Code::kInvalid);
}

TEST_F(RemoteRepository, FollowsARedirectWithoutItsCredentials) {
  credentials_ = std::make_shared<FixedCredential>(
      registry_.host(), Credential{.user = "user", .secret = Secret("password")});
  registry_.set({.redirect_blobs = true, .auth = FakeRegistry::Auth::kBasic});
  const std::string bytes = pattern(1000);
  registry_.add_blob(bytes);

  auto got = read(describe(bytes));

  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(*got == bytes);
  const auto last = registry_.seen().back();
  EXPECT_TRUE(last.target.starts_with("/storage/"));
  EXPECT_EQ(last.authorization, "");
}

TEST_F(RemoteRepository, DoesNotRunInCirclesOfRedirects) {
  const auto digest = registry_.add_blob("x");
  registry_.inject("/blobs/", {.status = 307, .headers = {{"Location", "?again"}}}, 1000);

  auto got = repository().blob_bytes(digest, 10);

  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kInvalid);
  EXPECT_LT(registry_.seen().size(), 10u);
}

}  // namespace
}  // namespace runnel::remote
