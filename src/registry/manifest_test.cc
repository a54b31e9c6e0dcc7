// Manifests, tags, lists and referrers, over HTTP.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

using net::Header;

const std::string kManifestType(oci::kOciManifest);
const std::string kIndexType(oci::kOciIndex);

class Manifests : public test::RegistryOverStores {
 protected:
  // An artifact that refers to the manifest with these bytes.
  std::string push_referrer(const std::string& subject, const std::string& type,
                            const oci::Annotations& annotations = {}) {
    auto artifact = image({});
    artifact.subject = descriptor(subject, oci::kOciManifest);
    artifact.artifact_type = type;
    artifact.annotations = annotations;
    const auto bytes = oci::to_json(artifact);
    push_blob("a", "{}");
    const auto answer = put_manifest("a", digest_of(bytes), bytes, kManifestType);
    EXPECT_EQ(answer.status, 201) << answer.body;
    EXPECT_EQ(answer.header("OCI-Subject"), digest_of(subject));
    return bytes;
  }
  std::vector<std::string> listed(const test::Answered& answer) {
    std::vector<std::string> digests;
    const auto index = oci::parse_index(as_bytes(answer.body), answer.header("Content-Type"));
    EXPECT_TRUE(index) << answer.body;
    if (index)
      for (const auto& each : index->manifests) digests.push_back(each.digest.to_string());
    return digests;
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Manifests, test::all_stores(), test::name_of_stores);

TEST_P(Manifests, ComeBackAsTheyWerePushed) {
  push_image("a", "other", {"layer"});
  const auto bytes = "\n " + oci::to_json(image({"layer"})) + "\n";

  const auto pushed = put_manifest("a", "v1", bytes, kManifestType);

  EXPECT_EQ(pushed.status, 201);
  EXPECT_EQ(pushed.header("Location"), "/v2/a/manifests/" + digest_of(bytes));
  EXPECT_EQ(pushed.header("Docker-Content-Digest"), digest_of(bytes));
  EXPECT_EQ(pushed.header("OCI-Subject"), "(none)");
  for (const std::string& target : {std::string("v1"), digest_of(bytes)}) {
    const auto got = get("/v2/a/manifests/" + target);
    const auto head = send("HEAD", "/v2/a/manifests/" + target);
    for (const auto& answer : {got, head}) {
      EXPECT_EQ(answer.status, 200);
      EXPECT_EQ(answer.header("Content-Type"), kManifestType);
      EXPECT_EQ(answer.header("Content-Length"), std::to_string(bytes.size()));
      EXPECT_EQ(answer.header("Docker-Content-Digest"), digest_of(bytes));
    }
    EXPECT_EQ(got.body, bytes);
    EXPECT_EQ(head.body, "");
  }
  restart();
  EXPECT_EQ(get("/v2/a/manifests/v1").body, bytes);
}

TEST_P(Manifests, ComeBackWhateverTheClientAccepts) {
  push_image("a", "v1", {"layer"});

  for (const auto* accept : {"*/*", "application/vnd.docker.distribution.manifest.v2+json", "x/y"})
    EXPECT_EQ(get("/v2/a/manifests/v1", {Header("Accept", accept), Header("Accept", "a/b")}).status,
              200);
}

TEST_P(Manifests, AreNotSentAgainToWhoHasThem) {
  const auto bytes = push_image("a", "v1", {"layer"});

  const auto same =
      get("/v2/a/manifests/v1", {Header("If-None-Match", "\"" + digest_of(bytes) + "\"")});
  const auto other = get("/v2/a/manifests/v1", {Header("If-None-Match", "\"x\"")});

  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(other.body, bytes);
}

TEST_P(Manifests, NeedTheirBlobs) {
  push_blob("a", "{}");
  push_blob("other", "layer");

  const auto answer = put_manifest("a", "v1", oci::to_json(image({"layer"})), kManifestType);

  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("MANIFEST_BLOB_UNKNOWN"), std::string::npos);
  EXPECT_NE(answer.body.find(digest_of("layer")), std::string::npos);
  EXPECT_EQ(get("/v2/a/manifests/v1").status, 404);
}

// Which blobs others have is not to be found out beside one that nobody has.
TEST_P(Manifests, NameEveryBlobThatTheirRepositoryLacks) {
  push_blob("a", "{}");
  push_blob("other", "layer");
  const auto bytes = oci::to_json(image({"layer", "absent"}));

  const auto answer = put_manifest("a", "v1", bytes, kManifestType);

  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find(digest_of("layer")), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find(digest_of("absent")), std::string::npos) << answer.body;
  EXPECT_EQ(answer.body.find(digest_of("{}")), std::string::npos) << answer.body;
}

TEST_P(Manifests, MayLackBlobsWhenTheConfigurationSaysSo) {
  config_.sparse_manifests = true;
  restart();

  EXPECT_EQ(put_manifest("a", "v1", oci::to_json(image({"layer"})), kManifestType).status, 201);
}

TEST_P(Manifests, OfAnIndexMayBeMissing) {
  oci::Index index;
  index.media_type = oci::kOciIndex;
  index.manifests = {descriptor("not pushed", oci::kOciManifest)};

  EXPECT_EQ(put_manifest("a", "v1", oci::to_json(index), kIndexType).status, 201);
  EXPECT_EQ(get("/v2/a/manifests/v1").header("Content-Type"), kIndexType);
}

TEST_P(Manifests, ThatAreNoneAreRefused) {
  for (const auto* bytes : {"", "{}", "[]", "nonsense"}) {
    const auto answer = put_manifest("a", "v1", bytes, kManifestType);
    EXPECT_EQ(answer.status, 400) << bytes;
    EXPECT_NE(answer.body.find("MANIFEST_INVALID"), std::string::npos);
  }
  push_image("a", "v1", {"layer"});
  const auto bytes = oci::to_json(image({"layer"}));
  EXPECT_EQ(put_manifest("a", "v2", bytes, kIndexType).status, 400);
  EXPECT_EQ(put_manifest("a", "v2", bytes, "text/plain").status, 400);
  EXPECT_EQ(put_manifest("a", "-v2", bytes, kManifestType).status, 400);
  EXPECT_EQ(put_manifest("a", "sha256:bad", bytes, kManifestType).status, 400);
  const auto wrong = put_manifest("a", digest_of("x"), bytes, kManifestType);
  EXPECT_EQ(wrong.status, 400);
  EXPECT_NE(wrong.body.find("DIGEST_INVALID"), std::string::npos);
}

TEST_P(Manifests, HaveUpToFourMebibytes) {
  push_blob("a", "{}");
  auto manifest = image({});
  for (int i = 0; i < 390; ++i) manifest.annotations[std::to_string(i)] = std::string(10'000, 'x');
  const auto large = oci::to_json(manifest);
  auto too_large = large + std::string(oci::kMaxDocumentBytes - large.size() + 1, ' ');

  EXPECT_EQ(put_manifest("a", "large", large, kManifestType).status, 201);
  EXPECT_EQ(get("/v2/a/manifests/large").body, large);
  EXPECT_EQ(put_manifest("a", "large", too_large, kManifestType).status, 413);
  too_large.pop_back();
  EXPECT_EQ(put_manifest("a", "limit", too_large, kManifestType).status, 201);
}

TEST_P(Manifests, OfSha512AreNamedByIt) {
  push_image("a", "v1", {"layer"});
  const auto bytes = oci::to_json(image({"layer"}));
  const auto digest = oci::Digest::of(as_bytes(bytes), oci::Algorithm::kSha512).to_string();

  const auto pushed = put_manifest("a", digest + "?tag=long&tag=longer", bytes, kManifestType);

  EXPECT_EQ(pushed.status, 201);
  EXPECT_EQ(pushed.header("Docker-Content-Digest"), digest);
  EXPECT_EQ(pushed.headers.all("OCI-Tag").size(), 2u);
  EXPECT_EQ(get("/v2/a/manifests/" + digest).body, bytes);
  EXPECT_EQ(send("HEAD", "/v2/a/manifests/long").header("Docker-Content-Digest"), digest);
}

TEST_P(Manifests, TakeTagsAsParametersAllOrNone) {
  push_image("a", "v1", {"layer"});
  const auto bytes = oci::to_json(image({"layer"}));

  EXPECT_EQ(put_manifest("a", digest_of(bytes) + "?tag=good&tag=-bad", bytes, kManifestType).status,
            400);

  EXPECT_EQ(get("/v2/a/manifests/good").status, 404);
}

TEST_P(Manifests, PushedAgainChangeNothing) {
  const auto bytes = push_image("a", "v1", {"layer"});

  EXPECT_EQ(put_manifest("a", "v1", bytes, kManifestType).status, 201);

  EXPECT_EQ(get("/v2/a/tags/list").body, R"({"name":"a","tags":["v1"]})");
}

TEST_P(Manifests, AreDeletedWithTheirTagsAtOnce) {
  const auto bytes = push_image("a", "v1", {"layer"});
  ASSERT_EQ(put_manifest("a", "v2", bytes, kManifestType).status, 201);

  EXPECT_EQ(send("DELETE", "/v2/a/manifests/v1").status, 202);
  EXPECT_EQ(get("/v2/a/manifests/v1").status, 404);
  EXPECT_EQ(get("/v2/a/manifests/v2").status, 200);
  EXPECT_EQ(send("DELETE", "/v2/a/manifests/v1").status, 404);
  EXPECT_EQ(send("DELETE", "/v2/a/manifests/" + digest_of(bytes)).status, 202);
  EXPECT_EQ(get("/v2/a/manifests/v2").status, 404);
  EXPECT_EQ(get("/v2/a/manifests/" + digest_of(bytes)).status, 404);
  EXPECT_EQ(send("DELETE", "/v2/a/manifests/" + digest_of(bytes)).status, 404);
}

TEST_P(Manifests, ProtectTheirBlobsFromDeletion) {
  const auto bytes = push_image("a", "v1", {"layer"});

  const auto refused = send("DELETE", "/v2/a/blobs/" + digest_of("layer"));
  EXPECT_EQ(refused.status, 405);
  ASSERT_EQ(send("DELETE", "/v2/a/manifests/" + digest_of(bytes)).status, 202);

  EXPECT_EQ(send("DELETE", "/v2/a/blobs/" + digest_of("layer")).status, 202);
}

TEST_P(Manifests, AreNotDeletedWhenTheConfigurationSaysSo) {
  const auto bytes = push_image("a", "v1", {"layer"});
  push_blob("a", "loose");
  config_.deletion = false;
  restart();

  for (const std::string& path : {std::string("manifests/v1"), "manifests/" + digest_of(bytes),
                                  "blobs/" + digest_of("loose")})
    EXPECT_EQ(send("DELETE", "/v2/a/" + path).status, 405) << path;
  EXPECT_EQ(send("DELETE", begin("a")).status, 204);
}

TEST_P(Manifests, AreListedByTheirTagsInPages) {
  const auto bytes = push_image("a", "b", {"layer"});
  for (const auto* tag : {"c", "a", "B", "ab"})
    ASSERT_EQ(put_manifest("a", tag, bytes, kManifestType).status, 201);

  EXPECT_EQ(get("/v2/a/tags/list").body, R"({"name":"a","tags":["B","a","ab","b","c"]})");
  const auto first = get("/v2/a/tags/list?n=2");
  EXPECT_EQ(first.body, R"({"name":"a","tags":["B","a"]})");
  EXPECT_EQ(first.header("Link"), "</v2/a/tags/list?n=2&last=a>; rel=\"next\"");
  EXPECT_EQ(get("/v2/a/tags/list?n=2&last=a").body, R"({"name":"a","tags":["ab","b"]})");
  const auto last = get("/v2/a/tags/list?n=2&last=b");
  EXPECT_EQ(last.body, R"({"name":"a","tags":["c"]})");
  EXPECT_EQ(last.header("Link"), "(none)");
  EXPECT_EQ(get("/v2/a/tags/list?last=aa").body, R"({"name":"a","tags":["ab","b","c"]})");
  EXPECT_EQ(get("/v2/a/tags/list?n=0").body, R"({"name":"a","tags":[]})");
  EXPECT_EQ(get("/v2/a/tags/list?n=0").header("Link"), "(none)");
  EXPECT_EQ(get("/v2/a/tags/list?n=99999999999999999999999").status, 200);
  EXPECT_EQ(get("/v2/a/tags/list?n=-1").status, 400);
  EXPECT_EQ(get("/v2/unknown/tags/list").status, 404);
}

TEST_P(Manifests, AreListedByTheirRepositoriesInPages) {
  for (const auto* name : {"b", "a/x", "a"}) push_blob(name, "x");

  EXPECT_EQ(get("/v2/_catalog").body, R"({"repositories":["a","a/x","b"]})");
  const auto first = get("/v2/_catalog?n=2");
  EXPECT_EQ(first.body, R"({"repositories":["a","a/x"]})");
  EXPECT_EQ(first.header("Link"), "</v2/_catalog?n=2&last=a%2Fx>; rel=\"next\"");
  EXPECT_EQ(get("/v2/_catalog?n=2&last=a%2Fx").body, R"({"repositories":["b"]})");
}

TEST_P(Manifests, ThatNobodyRefersToHaveAnEmptyList) {
  const auto answer = get("/v2/unknown/referrers/" + digest_of("x"));

  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Content-Type"), kIndexType);
  EXPECT_TRUE(listed(answer).empty());
  EXPECT_EQ(get("/v2/unknown/referrers/sha256:bad").status, 400);
}

TEST_P(Manifests, AreFoundThroughWhatTheyReferTo) {
  const auto subject = push_image("a", "v1", {"layer"});
  const auto one = push_referrer(subject, "t/1+json", {{"k", "v"}, {"w", "x"}});
  const auto two = push_referrer(subject, "t/2");
  const auto path = "/v2/a/referrers/" + digest_of(subject);

  const auto all = get(path);
  EXPECT_EQ(listed(all), (std::vector{digest_of(two), digest_of(one)}));
  EXPECT_EQ(all.header("OCI-Filters-Applied"), "(none)");
  const auto index = oci::parse_index(as_bytes(all.body)).value();
  EXPECT_EQ(index.manifests[1].artifact_type, "t/1+json");
  EXPECT_EQ(index.manifests[1].annotations, (oci::Annotations{{"k", "v"}, {"w", "x"}}));
  EXPECT_EQ(index.manifests[1].size, one.size());

  const auto filtered = get(path + "?artifactType=t%2F1%2Bjson");
  EXPECT_EQ(listed(filtered), std::vector{digest_of(one)});
  EXPECT_EQ(filtered.header("OCI-Filters-Applied"), "artifactType");
  EXPECT_EQ(listed(get(path + "?artifactType=t/1+json")), std::vector{digest_of(one)});
  EXPECT_EQ(listed(get(path + "?artifactType=t/2&artifactType=t/3")), std::vector{digest_of(two)});
  EXPECT_TRUE(listed(get(path + "?artifactType=t/3")).empty());

  ASSERT_EQ(send("DELETE", "/v2/a/manifests/" + digest_of(two)).status, 202);
  EXPECT_EQ(listed(get(path)), std::vector{digest_of(one)});
}

TEST_P(Manifests, MayReferToWhatIsNotThere) {
  const auto referrer = push_referrer("never pushed", "t/1");

  EXPECT_EQ(listed(get("/v2/a/referrers/" + digest_of("never pushed"))),
            std::vector{digest_of(referrer)});
}

TEST_P(Manifests, AreFoundThroughAllPagesOfALongList) {
  std::vector<std::string> pushed;
  for (int i = 0; i < 10; ++i)
    pushed.push_back(digest_of(push_referrer(
        "subject", "t/1", {{"a", std::string(1 << 20, 'x')}, {"i", std::to_string(i)}})));
  std::ranges::reverse(pushed);

  std::vector<std::string> seen;
  std::string path = "/v2/a/referrers/" + digest_of("subject") + "?artifactType=t/1";
  while (!path.empty()) {
    const auto answer = get(path);
    EXPECT_LE(answer.body.size(), size_t{4} << 20);
    for (const auto& digest : listed(answer)) seen.push_back(digest);
    const auto link = answer.header("Link");
    path = link == "(none)" ? "" : link.substr(1, link.find('>') - 1);
  }

  EXPECT_EQ(seen, pushed);
}

}  // namespace
}  // namespace runnel::registry
