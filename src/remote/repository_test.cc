#include "remote/repository.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/durable.h"
#include "oci/media_types.h"
#include "support/fake_registry.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

using namespace std::chrono_literals;
using test::FakeRegistry;
using test::Fault;

constexpr std::string_view kConfigType = "application/vnd.example.config";

class RemoteRepository : public ::testing::Test {
 protected:
  Repository repository(const std::string& name = "team/app") {
    return Repository(gateway(), registry_.host(), name);
  }
  std::shared_ptr<Gateway> gateway() {
    if (!gateway_) {
      GatewayOptions options;
      options.retry = {.attempts = 4, .first_delay = 1ms, .longest_delay = 5ms};
      options.stall_timeout = stall_;
      gateway_ = std::make_shared<Gateway>(client_, Hosts(), credentials_, clock_, options);
    }
    return gateway_;
  }
  static std::string manifest_json(const std::string& mark) { return to_json(manifest(mark)); }
  static oci::Manifest manifest(const std::string& mark) {
    oci::Manifest out;
    out.media_type = oci::kOciManifest;
    out.config.media_type = kConfigType;
    out.config.digest = oci::Digest::of(as_bytes("{}"));
    out.config.size = 2;
    out.annotations["mark"] = mark;
    return out;
  }
  static oci::Descriptor describe(std::string_view bytes) {
    oci::Descriptor out;
    out.media_type = "application/octet-stream";
    out.digest = oci::Digest::of(as_bytes(bytes));
    out.size = bytes.size();
    return out;
  }
  // Big enough for several pieces, and no piece like another.
  static std::string pattern(size_t size) {
    std::string out(size, '\0');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 2654435761u >> 13);
    return out;
  }
  Result<std::string> read(const oci::Descriptor& blob) {
    std::string out;
    const auto append = [&](Bytes piece) -> Result<void> {
      out += as_text(piece);
      return {};
    };
    RUNNEL_DO(repository().blob(blob, append));
    return out;
  }

  FakeRegistry registry_;
  net::Client client_;
  SystemClock clock_;
  std::shared_ptr<CredentialSource> credentials_ = std::make_shared<Anonymous>();
  Duration stall_ = 10s;

 private:
  std::shared_ptr<Gateway> gateway_;
};

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

// --- Pushing blobs

TEST_F(RemoteRepository, PushesABlobOnce) {
  const std::string bytes = pattern(100'000);
  const auto digest = oci::Digest::of(as_bytes(bytes));
  for (const bool absolute : {false, true}) {
    registry_.set({.absolute_locations = absolute});
    registry_.remove_blob(digest);
    registry_.forget_seen();

    EXPECT_EQ(repository().push_blob(digest, as_bytes(bytes)), true);
    EXPECT_EQ(registry_.blob(digest), bytes);
    EXPECT_EQ(repository().push_blob(digest, as_bytes(bytes)), false);
    EXPECT_EQ(registry_.count("PUT "), 1u);
  }
}

TEST_F(RemoteRepository, PushesAPartOfAFile) {
  const test::TempDir directory;
  const std::string path = directory.path() + "/file";
  const std::string bytes = pattern(3'000'000);
  ASSERT_TRUE(replace_file(path, as_bytes(bytes)));
  auto file = std::make_shared<UniqueFd>(*open_file(path, O_RDONLY));
  const std::string part = bytes.substr(1000, 2'500'000);
  const auto digest = oci::Digest::of(as_bytes(part));

  auto pushed = repository().push_blob(digest, net::FileRange(file, 1000, part.size()));

  ASSERT_TRUE(pushed) << pushed.error().message;
  EXPECT_TRUE(registry_.blob(digest) == part);
}

TEST_F(RemoteRepository, PushesAnEmptyBlob) {
  EXPECT_EQ(repository().push_blob(oci::Digest::of({}), Bytes()), true);
  EXPECT_EQ(registry_.blob(oci::Digest::of({})), "");
}

TEST_F(RemoteRepository, APushWhoseAnswerWasLostIsNotRepeated) {
  const auto digest = oci::Digest::of(as_bytes("hello"));
  registry_.inject("PUT ", {.drop_answer = true});

  EXPECT_EQ(repository().push_blob(digest, as_bytes("hello")), true);
  EXPECT_EQ(registry_.count("PUT "), 1u);
  EXPECT_EQ(registry_.blob(digest), "hello");
}

TEST_F(RemoteRepository, APushWhoseSessionWasLostStartsOver) {
  const auto digest = oci::Digest::of(as_bytes("hello"));
  registry_.inject("PUT ", {.status = 404});
  registry_.inject("PUT ", {.status = 500});

  EXPECT_EQ(repository().push_blob(digest, as_bytes("hello")), true);
  EXPECT_EQ(registry_.count("POST "), 3u);
  EXPECT_EQ(registry_.blob(digest), "hello");
}

TEST_F(RemoteRepository, APushWithTheWrongDigestIsRefusedAtOnce) {
  auto pushed = repository().push_blob(oci::Digest::of(as_bytes("a")), as_bytes("b"));

  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, Code::kInvalid);
  EXPECT_NE(pushed.error().message.find("DIGEST_INVALID"), std::string::npos);
  EXPECT_EQ(registry_.count("PUT "), 1u);
}

TEST_F(RemoteRepository, UploadsDoNotGoWhereARegistryMustNotPoint) {
  Hosts hosts;
  hosts.set(registry_.host(), {.plain_http = true});
  registry_.inject("POST ", {.status = 202, .headers = {{"Location", "ftp://x/"}}});
  registry_.inject("POST ", {.status = 202});
  const auto digest = oci::Digest::of(as_bytes("a"));

  EXPECT_EQ(repository().push_blob(digest, as_bytes("a")).error().code, Code::kInvalid);
  EXPECT_EQ(repository().push_blob(digest, as_bytes("a")).error().code, Code::kInvalid);
  EXPECT_EQ(registry_.count("PUT "), 0u);
}

TEST_F(RemoteRepository, MountsABlobOrLeavesNoSessionBehind) {
  const auto digest = registry_.add_blob("hello");

  EXPECT_EQ(repository().mount_blob(digest, "other/app"), true);
  registry_.set({.mounts = false});
  EXPECT_EQ(repository().mount_blob(digest, "other/app"), false);
  EXPECT_EQ(registry_.count("DELETE "), 1u);
}

// --- Referrers

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
  EXPECT_EQ(marks(*repository().referrers(subject_.digest, {"type/b"})),
            (std::vector<std::string>{"4"}));
  EXPECT_EQ(marks(*repository().referrers(subject_.digest, {"type/b", "type/a"})).size(), 4u);
  EXPECT_EQ(registry_.manifest("team/app", referrers_tag(subject_.digest)), std::nullopt);
}

TEST_F(RemoteReferrers, AreFoundOnEveryPage) {
  registry_.set({.referrers_page = 2});
  for (int i = 0; i < 7; ++i)
    ASSERT_TRUE(repository().push_referrer(referrer(std::to_string(i), "type/a")));

  EXPECT_EQ(repository().referrers(subject_.digest, {"type/a"})->manifests.size(), 7u);
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
  const auto a = repository().referrers(subject_.digest, {"type/a"});
  ASSERT_EQ(a->manifests.size(), 1u);
  EXPECT_EQ(a->manifests.front(), *first);
}

TEST_F(RemoteReferrers, ArePushedTwiceWithoutAChange) {
  registry_.set({.referrers_api = false});
  ASSERT_TRUE(repository().push_referrer(referrer("1", "type/a")));
  const auto before = registry_.manifest("team/app", referrers_tag(subject_.digest));
  registry_.forget_seen();

  ASSERT_TRUE(repository().push_referrer(referrer("1", "type/a")));

  EXPECT_EQ(registry_.manifest("team/app", referrers_tag(subject_.digest)), before);
  EXPECT_EQ(registry_.count("PUT /v2/team/app/manifests/sha256-"), 0u);
}

TEST_F(RemoteReferrers, SurviveAnotherWriterOfTheList) {
  registry_.set({.referrers_api = false});
  // The other one writes its own list right after ours: ours must come back.
  ASSERT_TRUE(repository().push_referrer(referrer("other", "type/a")));
  const std::string tag = referrers_tag(subject_.digest);
  registry_.inject("PUT /v2/team/app/manifests/" + tag, {.status = 201});  // swallowed

  ASSERT_TRUE(repository().push_referrer(referrer("mine", "type/a")));

  EXPECT_EQ(marks(*repository().referrers(subject_.digest)),
            (std::vector<std::string>{"mine", "other"}));
}

TEST_F(RemoteReferrers, ATagThatIsNoListIsNotOverwritten) {
  registry_.set({.referrers_api = false});
  const std::string tag = referrers_tag(subject_.digest);
  registry_.add_manifest("team/app", tag, std::string(oci::kOciManifest), manifest_json("x"));

  auto pushed = repository().push_referrer(referrer("1", "type/a"));

  ASSERT_FALSE(pushed);
  EXPECT_NE(pushed.error().message.find(tag), std::string::npos);
  EXPECT_EQ(registry_.manifest("team/app", tag), manifest_json("x"));
}

TEST(ReferrersTag, FitsATag) {
  EXPECT_EQ(referrers_tag(oci::Digest::of({})),
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(referrers_tag(oci::Digest::of({}, oci::Algorithm::kSha512)).size(), 7 + 64u);
}

}  // namespace
}  // namespace runnel::remote
