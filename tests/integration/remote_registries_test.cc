// The client (remote/, fetch/) against registries that nobody wrote for its tests:
// distribution 2.8, which has no referrers API, and our own, which has.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/durable.h"
#include "fetch/fetcher.h"
#include "oci/fallback_tag.h"
#include "oci/media_types.h"
#include "registry/registry.h"
#include "remote/remote.h"
#include "support/anonymous.h"
#include "support/read_answer.h"
#include "support/temp_dir.h"

namespace runnel {
namespace {

class Served {
 public:
  virtual ~Served() = default;
  virtual std::string host() const = 0;
  virtual bool has_referrers_api() const = 0;
};

class OurRegistry final : public Served {
 public:
  OurRegistry() {
    registry::Config config;
    config.data = directory_.path() + "/data";
    config.port = 0;
    registry_ = registry::Registry::start(config, clock_).value();
  }
  std::string host() const override { return fmt::format("127.0.0.1:{}", registry_->port()); }
  bool has_referrers_api() const override { return true; }

 private:
  test::TempDir directory_;
  SystemClock clock_;
  std::unique_ptr<registry::Registry> registry_;
};

// It cannot be told to take any free port and to say which, so it is given ports until one is free.
class DockerRegistry final : public Served {
 public:
  static constexpr const char* kProgram = "/usr/bin/docker-registry";

  DockerRegistry() {
    for (int attempt = 0; attempt < 20 && pid_ == 0; ++attempt) try_start();
    if (pid_ == 0) ADD_FAILURE() << "docker-registry does not start; see its log";
  }
  ~DockerRegistry() override { end(); }
  std::string host() const override { return fmt::format("127.0.0.1:{}", port_); }
  bool has_referrers_api() const override { return false; }

 private:
  void try_start() {
    port_ = static_cast<uint16_t>(20'000 + (getpid() * 31 + next_++ * 97) % 30'000);
    const std::string config = directory_.path() + "/config.yml";
    const std::string text = fmt::format(
        "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: \"127.0.0.1:{}\"}}\n"
        "storage: {{filesystem: {{rootdirectory: {}/data}}, delete: {{enabled: true}}}}\n",
        port_, directory_.path());
    if (!replace_file(config, as_bytes(text))) return;

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const std::string log = directory_.path() + "/log";
    for (const int fd : {1, 2})
      posix_spawn_file_actions_addopen(&actions, fd, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0644);
    std::string program = kProgram;
    std::string verb = "serve";
    std::string path = config;
    std::array<char*, 4> arguments = {program.data(), verb.data(), path.data(), nullptr};
    if (posix_spawn(&pid_, kProgram, &actions, nullptr, arguments.data(), environ) != 0) pid_ = 0;
    posix_spawn_file_actions_destroy(&actions);
    if (pid_ != 0 && !wait_until_ready()) end();
  }

  // False when the process ended (the port is taken) or is not ready after a while.
  bool wait_until_ready() {
    net::Client client;
    for (int i = 0; i < 500; ++i) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        return false;
      }
      auto answer = client.fetch(net::ClientRequest("http://" + host() + "/v2/"), 1024);
      if (answer && answer->head.status == 200) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));  // between two looks
    }
    return false;
  }

  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
  }

  static inline int next_ = 0;
  test::TempDir directory_;
  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

class RemoteRegistries : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("docker_registry")) {
      if (::access(DockerRegistry::kProgram, X_OK) != 0)
        GTEST_SKIP() << "needs " << DockerRegistry::kProgram;
      served_ = std::make_unique<DockerRegistry>();
    } else {
      served_ = std::make_unique<OurRegistry>();
    }
    gateway_ = std::make_shared<remote::Gateway>(client_, remote::Hosts(),
                                                 std::make_shared<test::Anonymous>(), clock_);
  }
  remote::Repository repository(const std::string& name = "team/app") const {
    return remote::Repository(gateway_, served_->host(), name);
  }
  oci::Digest push(const std::string& bytes) {
    const auto digest = oci::Digest::of(as_bytes(bytes));
    auto pushed = repository().push_blob(digest, as_bytes(bytes));
    EXPECT_TRUE(pushed) << pushed.error().message;
    return digest;
  }
  oci::Descriptor described(const std::string& bytes, const std::string& type) {
    oci::Descriptor out;
    out.media_type = type;
    out.digest = push(bytes);
    out.size = bytes.size();
    return out;
  }
  oci::Manifest image(const std::string& mark) {
    oci::Manifest out;
    out.media_type = oci::kOciManifest;
    out.config = described("{}", std::string(oci::kOciConfig));
    out.layers.push_back(described("layer " + mark, std::string(oci::kOciLayerTar)));
    out.annotations["mark"] = mark;
    return out;
  }
  oci::Descriptor push_image(const std::string& tag, const oci::Manifest& manifest) {
    const std::string json = oci::to_json(manifest);
    auto pushed = repository().push_manifest(tag, manifest.media_type, as_bytes(json));
    EXPECT_TRUE(pushed) << pushed.error().message;
    return repository().resolve(tag).value();
  }

  std::unique_ptr<Served> served_;
  net::Client client_;
  SystemClock clock_;
  std::shared_ptr<remote::Gateway> gateway_;
};

INSTANTIATE_TEST_SUITE_P(With, RemoteRegistries, testing::Values("docker_registry", "ours"),
                         [](const auto& which) { return std::string(which.param); });

TEST_P(RemoteRegistries, BlobsGoThereAndBack) {
  const std::string bytes = test::random_text(5'000'000);
  const auto digest = push(bytes);

  EXPECT_EQ(repository().push_blob(digest, as_bytes(bytes)), false);
  EXPECT_EQ(repository().has_blob(digest), true);
  EXPECT_EQ(repository().has_blob(oci::Digest::of(as_bytes("absent"))), false);
  EXPECT_TRUE(as_text(repository().blob_bytes(digest, bytes.size()).value()) == bytes);
  EXPECT_TRUE(as_text(repository().blob_range(digest, 1'234'567, 70'000).value()) ==
              bytes.substr(1'234'567, 70'000));
  EXPECT_EQ(repository().blob_range(digest, bytes.size() - 5, 10).error().code, Code::kInvalid);
}

TEST_P(RemoteRegistries, AFileIsPushedFromItsDescriptor) {
  const test::TempDir directory;
  const std::string bytes = test::random_text(3'000'000);
  ASSERT_TRUE(replace_file(directory.path() + "/blob", as_bytes(bytes)));
  const auto file =
      std::make_shared<UniqueFd>(open_file(directory.path() + "/blob", O_RDONLY).value());
  const auto digest = oci::Digest::of(as_bytes(bytes));

  EXPECT_EQ(repository().push_blob(digest, net::FileRange(file, 0, bytes.size())), true);
  EXPECT_TRUE(as_text(repository().blob_bytes(digest, bytes.size()).value()) == bytes);
}

TEST_P(RemoteRegistries, ABlobIsMountedFromAnotherRepository) {
  const auto digest = push("shared bytes");

  EXPECT_EQ(repository("team/other").mount_blob(digest, "team/app"), true);
  EXPECT_EQ(as_text(repository("team/other").blob_bytes(digest, 100).value()), "shared bytes");
  EXPECT_EQ(repository("team/other").mount_blob(oci::Digest::of(as_bytes("absent")), "team/app"),
            false);
}

TEST_P(RemoteRegistries, ManifestsGoThereAndBack) {
  const auto manifest = image("a");
  const auto descriptor = push_image("v1", manifest);

  EXPECT_EQ(descriptor.media_type, oci::kOciManifest);
  auto got = repository().manifest("v1");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(as_text(got->bytes), oci::to_json(manifest));
  EXPECT_EQ(got->digest, descriptor.digest);
  EXPECT_TRUE(repository().manifest(descriptor.digest.to_string()));

  EXPECT_TRUE(repository().delete_manifest(descriptor.digest.to_string()));
  EXPECT_EQ(repository().manifest(descriptor.digest.to_string()).error().code, Code::kNotFound);
}

TEST_P(RemoteRegistries, ReferrersAreFoundWhateverTheRegistryCan) {
  const auto subject = push_image("v1", image("subject"));
  ASSERT_TRUE(repository().referrers(subject.digest).value().manifests.empty());
  for (const char* mark : {"1", "2"}) {
    oci::Manifest referrer = image(mark);
    referrer.subject = subject;
    referrer.artifact_type = std::string("application/vnd.example.") + mark;
    for (int twice = 0; twice < 2; ++twice) {
      auto pushed = repository().push_referrer(referrer);
      ASSERT_TRUE(pushed) << pushed.error().message;
    }
  }

  auto all = repository().referrers(subject.digest);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->manifests.size(), 2u);
  auto one =
      repository().referrers(subject.digest, {.artifact_types = {"application/vnd.example.2"}});
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_EQ(one->manifests.size(), 1u);
  EXPECT_EQ(one->manifests.front().annotations.at("mark"), "2");
  EXPECT_TRUE(repository().manifest(one->manifests.front().digest.to_string()));
  const bool listed = repository().manifest(oci::fallback_tag(subject.digest)).has_value();
  EXPECT_EQ(listed, !served_->has_referrers_api());
}

TEST_P(RemoteRegistries, RangesAreFetchedByTheHundred) {
  const std::string bytes = test::random_text(20'000'000);
  const auto digest = push(bytes);
  fetch::Fetcher fetcher(gateway_);
  const auto source = fetcher.source(served_->host(), "team/app", digest, bytes.size());
  std::vector<std::pair<uint64_t, test::ReadAnswer>> reads;
  const SteadyTime deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);

  for (uint64_t i = 0; i < 400; ++i) {
    const uint64_t offset = i * 7'777'777 % 19'800'000;
    reads.emplace_back(offset, test::ReadAnswer());
    source->read(offset, 131'072, static_cast<fetch::Priority>(i % 3), deadline,
                 reads.back().second.done());
  }

  for (auto& [offset, answer] : reads) {
    auto got = answer.wait();
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_TRUE(as_text(*got) == bytes.substr(offset, 131'072)) << offset;
  }
}

}  // namespace
}  // namespace runnel
