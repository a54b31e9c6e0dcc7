#include "mirror/mirror.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>

#include "base/durable.h"
#include "oci/media_types.h"
#include "support/temp_dir.h"

namespace runnel::mirror {
namespace {

using net::Headers;
using net::Response;

constexpr std::string_view kManifest = R"({"schemaVersion":2})";

// A registry that says what it was asked and answers what the test wants.
class FakeUpstream final : public net::Handler {
 public:
  net::awaitable<Response> handle(net::Request& request, net::RequestBody&) override {
    const std::lock_guard lock(mutex_);
    seen.push_back(request);
    Headers headers{
        {"Content-Type", type}, {"Docker-Content-Digest", digest}, {"X-Secret", "stays here"}};
    if (!hint.empty()) headers.add(artifact::kBootBlobHeader, hint);
    if (status != 200) {
      co_return Response(status, Headers{{"WWW-Authenticate", "Bearer realm=\"x\""}}, body);
    }
    co_return Response(200, headers, body);
  }

  int status = 200;
  std::string type{oci::kOciManifest};
  std::string digest = "sha256:upstream";
  std::string hint;
  std::string body{kManifest};
  std::vector<net::Request> seen;

 private:
  std::mutex mutex_;
};

class Recorder final : public Observer {
 public:
  void manifest_seen(const SeenManifest& manifest) override {
    const std::lock_guard lock(mutex_);
    names.push_back(manifest.host + "/" + manifest.repository + "@" + manifest.digest.to_string());
  }
  void manifest_named(const NamedManifest& manifest) override {
    const std::lock_guard lock(mutex_);
    named.push_back(manifest.host + "/" + manifest.repository + "@" + manifest.digest.to_string());
    boots.push_back(manifest.boot);
  }
  std::vector<std::string> names;
  std::vector<std::string> named;
  std::vector<std::optional<artifact::BootHint>> boots;

 private:
  std::mutex mutex_;
};

class MirrorTest : public testing::Test {
 protected:
  void SetUp() override {
    upstream_server_ = net::Server::listen({}, upstream_).value();
    host_ = "127.0.0.1:" + std::to_string(upstream_server_->port());
    mirror_server_ = net::Server::listen({}, mirror_).value();
  }

  net::BufferedResponse get(const std::string& target, const char* method = "GET",
                            const Headers& headers = {}) {
    net::ClientRequest request(
        method, "http://127.0.0.1:" + std::to_string(mirror_server_->port()) + target);
    request.headers = headers;
    auto response = client_.fetch(std::move(request), 1 << 20);
    EXPECT_TRUE(response) << response.error().message;
    return response ? *std::move(response) : net::BufferedResponse();
  }
  std::string ns() const { return "?ns=" + host_; }

  net::Client client_;
  remote::Hosts hosts_;
  FakeUpstream upstream_;
  Recorder recorder_;
  SystemClock clock_;
  remote::ShownCredentials shown_{clock_};
  Mirror mirror_{client_, hosts_, recorder_, shown_, [] { return std::string("{\"ok\":1}"); }};
  std::unique_ptr<net::Server> upstream_server_;
  std::unique_ptr<net::Server> mirror_server_;
  std::string host_;
};

TEST(ParseTarget, KnowsManifestsAndBlobsAndNothingElse) {
  const auto digest = "sha256:" + std::string(64, 'a');

  EXPECT_EQ(parse_target("/v2/a/b/manifests/latest")->repository, "a/b");
  EXPECT_TRUE(parse_target("/v2/a/manifests/" + digest)->manifest);
  EXPECT_FALSE(parse_target("/v2/a/blobs/" + digest)->manifest);
  for (const std::string bad :
       {"/v2/", "/v2/a", "/v2/manifests/x", "/v2/a/tags/list", "/v2/a/blobs/latest",
        "/v2/A/manifests/x", "/v2/../x/manifests/y", "/other/a/manifests/x", "/v2//manifests/x"}) {
    EXPECT_FALSE(parse_target(bad)) << bad;
  }
}

TEST_F(MirrorTest, TellsTheObserverWhatAnImagesTagMeansBeforeAnybodyReadsIt) {
  upstream_.digest = oci::Digest::of(as_bytes(kManifest)).to_string();

  EXPECT_EQ(get("/v2/team/app/manifests/v1" + ns(), "HEAD").head.status, 200);

  EXPECT_EQ(recorder_.named, std::vector<std::string>{host_ + "/team/app@" + upstream_.digest});
  EXPECT_TRUE(recorder_.names.empty());
}

TEST_F(MirrorTest, SaysNothingOfATagThatMeansNoImageOrNothingKnown) {
  get("/v2/app/manifests/v1" + ns(), "HEAD");  // no digest
  upstream_.digest = oci::Digest::of(as_bytes(kManifest)).to_string();
  get("/v2/app/blobs/" + upstream_.digest + ns(), "HEAD");
  upstream_.type = oci::kOciIndex;
  get("/v2/app/manifests/v1" + ns(), "HEAD");
  upstream_.type = oci::kOciManifest;
  upstream_.status = 404;
  get("/v2/app/manifests/v1" + ns(), "HEAD");

  EXPECT_TRUE(recorder_.named.empty());
}

TEST_F(MirrorTest, AsksForTheBootBlobOfAManifestAndTellsTheObserver) {
  const artifact::BootHint boot{.blob = oci::Digest::of(as_bytes("boot")),
                                .size = 12,
                                .head = 3,
                                .base = oci::Digest::of(as_bytes("base"))};
  upstream_.digest = oci::Digest::of(as_bytes(kManifest)).to_string();
  upstream_.hint = artifact::to_header(boot);

  const auto head = get("/v2/app/manifests/v1" + ns(), "HEAD");
  const auto whole = get("/v2/app/manifests/v1" + ns());
  get("/v2/app/blobs/" + upstream_.digest + ns());

  using Boots = std::vector<std::optional<artifact::BootHint>>;
  EXPECT_EQ(recorder_.boots, (Boots{boot, boot})) << "with the head of the answer";
  EXPECT_FALSE(head.head.headers.has(artifact::kBootBlobHeader)) << "that is between us";
  EXPECT_FALSE(whole.head.headers.has(artifact::kBootBlobHeader));
  ASSERT_EQ(upstream_.seen.size(), 3u);
  EXPECT_EQ(upstream_.seen[0].headers.first(artifact::kAskHeader), artifact::kAskBootBlob);
  EXPECT_EQ(upstream_.seen[1].headers.first(artifact::kAskHeader), artifact::kAskBootBlob);
  EXPECT_FALSE(upstream_.seen[2].headers.has(artifact::kAskHeader));
}

TEST_F(MirrorTest, TakesAHintThatItCannotReadForNone) {
  upstream_.digest = oci::Digest::of(as_bytes(kManifest)).to_string();
  upstream_.hint = "sha256:0; size=1";

  get("/v2/app/manifests/v1" + ns(), "HEAD");

  EXPECT_EQ(recorder_.boots, std::vector<std::optional<artifact::BootHint>>{std::nullopt});
}

TEST_F(MirrorTest, HandsAManifestOnAndTellsTheObserver) {
  const auto response = get("/v2/team/app/manifests/v1" + ns(), "GET",
                            {{"Accept", "a/b"}, {"Authorization", "Bearer t"}, {"Cookie", "c"}});

  EXPECT_EQ(response.head.status, 200);
  EXPECT_EQ(as_text(response.body), kManifest);
  EXPECT_EQ(response.head.headers.first("Docker-Content-Digest"), "sha256:upstream");
  EXPECT_FALSE(response.head.headers.has("X-Secret"));
  ASSERT_EQ(upstream_.seen.size(), 1u);
  EXPECT_EQ(upstream_.seen[0].target, "/v2/team/app/manifests/v1");
  EXPECT_EQ(upstream_.seen[0].headers.first("Authorization"), "Bearer t");
  EXPECT_FALSE(upstream_.seen[0].headers.has("Cookie"));
  const auto digest = oci::Digest::of(as_bytes(kManifest)).to_string();
  EXPECT_EQ(recorder_.names, std::vector<std::string>{host_ + "/team/app@" + digest});
}

TEST_F(MirrorTest, AsksNobodyWhenTheHostsFileOfTheRegistryCannotBeFollowed) {
  const test::TempDir hosts;
  ASSERT_TRUE(make_directories(hosts.path() + "/" + host_));
  ASSERT_TRUE(replace_file(hosts.path() + "/" + host_ + "/hosts.toml",
                           as_bytes("server = \"https://harbor.example/v2/hub\"\n")));
  hosts_.set_directory(hosts.path());

  const auto response = get("/v2/app/manifests/v1" + ns());

  EXPECT_EQ(response.head.status, 503) << "containerd goes on with its own file";
  EXPECT_TRUE(as_text(response.body).contains("a path other than /v2")) << as_text(response.body);
  EXPECT_TRUE(upstream_.seen.empty());
}

TEST_F(MirrorTest, NeverAnswersADigestWithOtherBytes) {
  const auto digest = oci::Digest::of(as_bytes("something else")).to_string();

  const auto response = get("/v2/app/manifests/" + digest + ns());

  EXPECT_EQ(response.head.status, 503);
  EXPECT_TRUE(recorder_.names.empty());
}

TEST_F(MirrorTest, PassesRefusalsThrough) {
  for (const int status : {403, 404, 429}) {
    upstream_.status = status;
    const auto response = get("/v2/app/manifests/v1" + ns());
    EXPECT_EQ(response.head.status, status);
    EXPECT_EQ(response.head.headers.first("WWW-Authenticate"), "Bearer realm=\"x\"");
  }
  EXPECT_TRUE(recorder_.names.empty());
}

TEST_F(MirrorTest, StreamsBlobsAndAsksForRanges) {
  upstream_.body = std::string(1 << 20, 'b');
  const auto digest = oci::Digest::of(as_bytes(upstream_.body)).to_string();

  const auto response = get("/v2/app/blobs/" + digest + ns(), "GET", {{"Range", "bytes=0-"}});

  EXPECT_EQ(response.body.size(), upstream_.body.size());
  EXPECT_EQ(upstream_.seen.at(0).headers.first("Range"), "bytes=0-");
}

TEST_F(MirrorTest, AnswersHeadWithTheLength) {
  const auto response = get("/v2/app/manifests/v1" + ns(), "HEAD");

  EXPECT_EQ(response.head.status, 200);
  EXPECT_EQ(response.head.headers.first("Content-Length"), std::to_string(kManifest.size()));
  EXPECT_TRUE(response.body.empty());
}

TEST_F(MirrorTest, SaysThatARegistryCannotBeReached) {
  upstream_server_.reset();

  const auto response = get("/v2/app/manifests/v1" + ns());

  EXPECT_EQ(response.head.status, 503);
  EXPECT_NE(as_text(response.body).find("errors"), std::string_view::npos);
  EXPECT_NE(as_text(response.body).find(host_), std::string_view::npos);
}

TEST_F(MirrorTest, LendsNobodyACertificateOrAHeaderOfThisMachine) {
  remote::HostSettings with_header;
  with_header.headers = {{"X-Api-Key", "secret"}};
  hosts_.set(host_, with_header);
  EXPECT_EQ(get("/v2/app/manifests/v1" + ns()).head.status, 503);

  remote::HostSettings with_certificate;
  with_certificate.tls = std::make_shared<const net::TlsSettings>(
      net::TlsSettings{.authorities = {}, .certificate_file = "/c.pem", .key_file = {}});
  hosts_.set(host_, with_certificate);
  EXPECT_EQ(get("/v2/app/manifests/v1" + ns()).head.status, 503);
  EXPECT_TRUE(upstream_.seen.empty());
}

// The mirror has one thread.
TEST(MirrorStatus, DelaysNoPull) {
  net::Client client;
  remote::Hosts hosts;
  FakeUpstream upstream;
  Recorder recorder;
  const SystemClock clock;
  remote::ShownCredentials shown{clock};
  std::promise<void> asked;
  std::promise<void> may_answer;
  Mirror mirror(client, hosts, recorder, shown, [&] {
    asked.set_value();
    may_answer.get_future().wait();
    return std::string("late");
  });
  const auto upstream_server = net::Server::listen({}, upstream).value();
  net::Server::Options one_thread;
  one_thread.threads = 1;
  const auto server = net::Server::listen(one_thread, mirror).value();
  const auto fetch = [&](const std::string& target) {
    net::ClientRequest request("GET", fmt::format("http://127.0.0.1:{}{}", server->port(), target));
    request.total_timeout = std::chrono::seconds(20);
    return client.fetch(std::move(request), 1 << 20);
  };
  auto status = std::async(std::launch::async, [&] { return fetch("/status"); });
  asked.get_future().wait();

  const auto pulled =
      fetch(fmt::format("/v2/app/manifests/v1?ns=127.0.0.1:{}", upstream_server->port()));
  may_answer.set_value();

  ASSERT_TRUE(pulled) << pulled.error().message;
  EXPECT_EQ(pulled->head.status, 200);
  const auto late = status.get();
  ASSERT_TRUE(late) << late.error().message;
  EXPECT_EQ(as_text(late->body), "late");
}

TEST_F(MirrorTest, ServesNothingElse) {
  EXPECT_EQ(get("/v2/").head.status, 200);
  EXPECT_EQ(as_text(get("/status").body), "{\"ok\":1}");
  EXPECT_EQ(get("/v2/app/manifests/v1").head.status, 400);
  EXPECT_EQ(get("/v2/app/tags/list" + ns()).head.status, 404);
  EXPECT_EQ(get("/clear").head.status, 404);
  EXPECT_EQ(get("/v2/app/blobs/uploads/" + ns(), "POST").head.status, 405);
  EXPECT_TRUE(upstream_.seen.empty());
}

}  // namespace
}  // namespace runnel::mirror
