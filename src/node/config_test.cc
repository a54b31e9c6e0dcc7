#include "node/config.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::node {
namespace {

constexpr const char* kKey = "MCowBQYDK2VwAyEATyDhmczz9zL2rXLzW/MndPFON1jcnna9Y/hUWso4ojw=";
constexpr const char* kKeyId = "64b2db9dae056ee0";

std::string refusal(const std::string& text) {
  Config config;
  const auto outcome = parse_config(config, text, "node.toml");
  EXPECT_FALSE(outcome) << text;
  return outcome ? "" : outcome.error().message;
}

TEST(NodeConfig, ReadsEveryKey) {
  const test::TempDir dir;
  const auto ca = dir.path() + "/ca.pem";
  ASSERT_TRUE(replace_file(ca, as_bytes("PEM")));
  Config config;

  const auto outcome =
      parse_config(config,
                   fmt::format("version = 1\nroot = \"/r\"\naddress = \"/a\"\ncontrol = \"/c\"\n"
                               "mirror = \"127.0.0.1:1\"\nengine = \"erofs-loop\"\n"
                               "background_fill = false\nread_ahead = false\ntell_starts = "
                               "false\ndirect_io = true\nread_timeout_s = "
                               "5\nkeep_unused_s = 7\nhosts_dir = \"/h\"\n"
                               "streaming_registries = [\"loopback\", \"r.example:5000\"]\n"
                               "[cache]\nmax_bytes = 7\nmin_free = 8\nreserve = 9\nscrub_rate = 4\n"
                               "[trusted_keys]\n\"{}\" = \"{}\"\n"
                               "[credentials]\nprovider_config = \"/p\"\nprovider_directory = "
                               "\"/d\"\ndocker_configs = [\"/x\"]\n"
                               "[registry.\"p.example\"]\nplain_http = true\nca = \"{}\"\n"
                               "client_certificate = \"/c.pem\"\nclient_key = \"/k.pem\"\n"
                               "skip_verify = true\n[registry.\"p.example\".header]\nx = \"y\"\n",
                               kKeyId, kKey, ca),
                   "node.toml");

  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(config.root, "/r");
  EXPECT_EQ(config.snapshotter_socket, "/a");
  EXPECT_EQ(config.control_socket, "/c");
  EXPECT_EQ(config.mirror, "127.0.0.1:1");
  EXPECT_EQ(config.way, engine::Way::kErofsLoop);
  EXPECT_FALSE(config.background_fill);
  EXPECT_FALSE(config.read_ahead);
  EXPECT_FALSE(config.tell_starts);
  EXPECT_TRUE(config.direct_io);
  EXPECT_EQ(config.cache.max_bytes, 7u);
  EXPECT_EQ(config.cache.min_free, 8u);
  EXPECT_EQ(config.cache.reserve, 9u);
  EXPECT_EQ(config.scrub.least_rate, 4u);
  EXPECT_EQ(config.read_timeout, std::chrono::seconds(5));
  EXPECT_EQ(config.keep_unused, std::chrono::seconds(7));
  EXPECT_EQ(config.hosts_dir, "/h");
  EXPECT_TRUE(config.trust.has_registry("r.example:5000"));
  ASSERT_EQ(config.trust.keys.size(), 1u);
  EXPECT_EQ(config.trust.keys[0].id(), kKeyId);
  const auto& registry = config.registries.at("p.example");
  EXPECT_EQ(registry.plain_http, true);
  EXPECT_EQ(registry.headers.first("x"), "y");
  EXPECT_EQ(*registry.tls, (net::TlsSettings{.authorities = "PEM",
                                             .certificate_file = "/c.pem",
                                             .key_file = "/k.pem",
                                             .check_peer = false}));
  EXPECT_EQ(config.credentials.provider_config, "/p");
  EXPECT_EQ(config.credentials.provider_directory, "/d");
  EXPECT_EQ(config.credentials.docker_configs, std::vector<std::string>{"/x"});
}

TEST(NodeConfig, KeepsTheDefaultsOfWhatIsNotSaid) {
  Config config;

  ASSERT_TRUE(parse_config(config, "version = 1", "node.toml"));

  EXPECT_EQ(config.root, "/var/lib/containerd/io.containerd.snapshotter.v1.runnel");
  EXPECT_EQ(config.mirror, "127.0.0.1:8578");
  EXPECT_TRUE(config.trust.has_registry("127.0.0.1:5000"));
}

TEST(NodeConfig, TakesLoopbackForAMeaningAndNotForAHost) {
  Config config;
  ASSERT_TRUE(parse_config(
      config, "version = 1\nstreaming_registries = [\"r.example\", \"loopback\"]\n", "node.toml"));

  EXPECT_EQ(config.trust.hosts, std::set<std::string>{"r.example"});
  EXPECT_TRUE(config.trust.has_registry("127.0.0.1:5000"));
  EXPECT_FALSE(config.trust.has_registry("loopback"));
}

TEST(NodeConfig, ReplacesLoopbackByAListThatHasNone) {
  Config config;
  ASSERT_TRUE(
      parse_config(config, "version = 1\nstreaming_registries = [\"r.example\"]\n", "node.toml"));

  EXPECT_TRUE(config.trust.has_registry("r.example"));
  EXPECT_FALSE(config.trust.has_registry("127.0.0.1:5000"));
}

TEST(NodeConfig, NamesTheLineOfWhatIsWrong) {
  EXPECT_EQ(refusal("version = 1\n\nrot = \"/r\"\n"), "node.toml:3: there is no key \"rot\"");
  for (const std::string bad :
       {"root = 1", "engine = \"magic\"", "read_timeout_s = 0", "keep_unused_s = 0",
        "read_timeout_s = 3601", "streaming_registries = [\"a b\"]", "streaming_registries = \"a\"",
        "trusted_keys.\"00\" = \"x\"", "registry.\"h\".plain = true",
        "registry.\"h\".ca = \"/no/such/file\"", "credentials.docker_configs = \"/x\""}) {
    EXPECT_TRUE(refusal("version = 1\n" + bad + "\n").starts_with("node.toml:2: ")) << bad;
  }
}

TEST(NodeConfig, WantsBothHalvesOfKubeletsProviders) {
  EXPECT_NE(
      refusal("version = 1\n[credentials]\nprovider_config = \"/p\"\n").find("belong together"),
      std::string::npos);
}

TEST(NodeConfig, RefusesAKeyThatHasAnotherId) {
  const auto message = refusal(
      fmt::format("version = 1\n[trusted_keys]\n\"{}\" = \"{}\"\n", "0123456789abcdef", kKey));

  EXPECT_EQ(message,
            fmt::format("node.toml:3: trusted_keys.0123456789abcdef has another ID: {}", kKeyId));
}

TEST(NodeConfig, ReadsAFile) {
  const test::TempDir dir;
  const auto path = dir.path() + "/node.toml";
  ASSERT_TRUE(replace_file(path, as_bytes("version = 1\nroot = \"/x\"\n")));
  Config config;

  ASSERT_TRUE(load_config(config, path));

  EXPECT_EQ(config.root, "/x");
  EXPECT_EQ(load_config(config, dir.path() + "/none").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace runnel::node
