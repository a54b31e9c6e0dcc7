#include "registry/config.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

std::string refusal(std::string_view text) {
  const auto config = parse_config(text, "registry.toml");
  EXPECT_FALSE(config) << text;
  return config ? "" : config.error().message;
}

TEST(RegistryConfig, ReadsEveryKey) {
  const auto config = parse_config(
      "version = 1\ndata = \"/data\"\nlisten = \"[::1]:5001\"\nthreads = 3\n"
      "upload_lifetime_s = 60\nunreferenced_lifetime_s = 600\nsparse_manifests = true\ndeletion = "
      "false\n",
      "registry.toml");

  ASSERT_TRUE(config);
  EXPECT_EQ(config->data, "/data");
  EXPECT_EQ(config->address, "::1");
  EXPECT_EQ(config->port, 5001);
  EXPECT_EQ(config->threads, 3u);
  EXPECT_EQ(config->upload_lifetime, std::chrono::seconds(60));
  EXPECT_EQ(config->unreferenced_lifetime, std::chrono::seconds(600));
  EXPECT_TRUE(config->sparse_manifests);
  EXPECT_FALSE(config->deletion);
}

TEST(RegistryConfig, KeepsTheDefaultsOfWhatIsNotSaid) {
  const auto config = parse_config("version = 1", "registry.toml");

  ASSERT_TRUE(config);
  EXPECT_EQ(config->data, "/var/lib/runnel/registry");
  EXPECT_EQ(config->address, "127.0.0.1");
  EXPECT_EQ(config->port, 5000);
  EXPECT_TRUE(config->deletion);
}

TEST(RegistryConfig, NamesTheLineOfAKeyThatIsUnknown) {
  EXPECT_EQ(refusal("version = 1\n\nlistn = \"x\"\n"),
            "registry.toml:3: there is no key \"listn\"");
}

TEST(RegistryConfig, NamesTheLineOfAValueThatMakesNoSense) {
  for (const auto* bad :
       {"listen = \"5000\"", "listen = 5000", "listen = \"localhost:99999\"", "threads = -1",
        "threads = \"2\"", "upload_lifetime_s = 0", "unreferenced_lifetime_s = 599", "data = \"\"",
        "deletion = 1", "sparse_manifests = \"yes\""})
    EXPECT_TRUE(refusal(fmt::format("version = 1\n{}\n", bad)).starts_with("registry.toml:2: "))
        << bad;
}

TEST(RegistryConfig, KeepsDeletionsForOneToNinetyDaysAndSevenUnlessItIsTold) {
  const auto none = parse_config("version = 1", "registry.toml").value();
  EXPECT_TRUE(none.soft_delete);
  EXPECT_EQ(none.soft_delete_days, std::chrono::days(7));
  for (const int days : {1, 90}) {
    const auto config =
        parse_config(fmt::format("version = 1\nsoft_delete_days = {}\n", days), "registry.toml");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->soft_delete_days, std::chrono::days(days));
  }
  for (const auto* bad : {"0", "91", "-1", "7.5", "\"7\""})
    EXPECT_TRUE(refusal(fmt::format("version = 1\nsoft_delete_days = {}\n", bad))
                    .starts_with("registry.toml:2: "))
        << bad;
}

TEST(RegistryConfig, NeedsAVersionThatThisProgramKnows) {
  EXPECT_TRUE(refusal("data = \"/data\"").starts_with("registry.toml:1: "));
  EXPECT_TRUE(refusal("version = 2").starts_with("registry.toml:1: version "));
  EXPECT_TRUE(refusal("version = \"1\"").starts_with("registry.toml:1: version "));
}

TEST(RegistryConfig, WantsTheVersionFirst) {
  EXPECT_EQ(refusal("data = \"/data\"\nversion = 1\n"),
            "registry.toml:1: the first key must be version = 1");
}

TEST(RegistryConfig, TakesPortZeroAsAnyPort) {
  for (const auto* text : {"127.0.0.1:0", "[::1]:0"}) {
    Config config;
    ASSERT_TRUE(set_listen(config, text)) << text;
    EXPECT_EQ(config.port, 0);
  }
  Config config;
  for (const auto* text : {"127.0.0.1", "127.0.0.1:", ":0", "127.0.0.1:1:0", "::1:0"})
    EXPECT_FALSE(set_listen(config, text)) << text;
}

TEST(RegistryConfig, RefusesAPaceOfTheScrubThatIsNone) {
  for (const auto* pace : {"-1", "1.5", "\"fast\""})
    EXPECT_TRUE(refusal(fmt::format("version = 1\n[scrub]\nbytes_per_second = {}\n", pace))
                    .starts_with("registry.toml:3: "))
        << pace;
}

TEST(RegistryConfig, NamesTheLineOfWhatIsNoToml) {
  EXPECT_TRUE(refusal("version = 1\nlisten = \n").starts_with("registry.toml:2: "));
}

TEST(RegistryConfig, IsReadFromAFile) {
  const test::TempDir directory;
  const auto path = directory.path() + "/registry.toml";
  ASSERT_TRUE(replace_file(path, as_bytes("version = 1\nthreads = 7\n")));

  EXPECT_EQ(load_config(path)->threads, 7u);
  EXPECT_EQ(load_config(path + ".none").error().code, Code::kNotFound);
}

TEST(RegistryConfig, LimitsNoAddressThatMayBeAProxysUnlessItIsToldTo) {
  EXPECT_EQ(parse_config("version = 1", "file")->failed_logins_per_address(), 300u);
  const std::string behind_a_proxy = "version = 1\nexternal_url = \"https://r.example\"\n";
  EXPECT_EQ(parse_config(behind_a_proxy, "file")->failed_logins_per_address(), 0u);
  const auto told = behind_a_proxy + "[limits]\nfailed_logins_per_address = 9\n";
  EXPECT_EQ(parse_config(told, "file")->failed_logins_per_address(), 9u);
}

TEST(RegistryConfig, ReadsTlsLimitsNoticesLogsAndWebhooks) {
  const auto config = parse_config(R"(version = 1
audit_log = "off"
access_log = "/l/access.log"
drain_s = 5
[tls]
certificate = "/c"
key = "/k"
[limits]
failed_logins_per_minute = 7
failed_logins_per_address = 8
manifests_per_minute = 9
[notices]
"team/old/*" = "moved"
[scrub]
bytes_per_second = 1000
[webhooks.ci]
ca = "/etc/ca.pem"
url = "https://ci.example/hook"
repositories = ["team/*"]
)",
                                   "file")
                          .value();

  EXPECT_EQ(config.audit_log, "off");
  EXPECT_EQ(config.access_log, "/l/access.log");
  EXPECT_EQ(config.drain, std::chrono::seconds(5));
  EXPECT_EQ(config.tls.certificate, "/c");
  EXPECT_EQ(config.tls.key, "/k");
  EXPECT_EQ(config.limits.failed_logins_per_minute, 7);
  EXPECT_EQ(config.limits.failed_logins_per_address, 8);
  EXPECT_EQ(config.limits.manifests_per_minute, 9);
  EXPECT_EQ(config.notices, (Notices{{"team/old/*", "moved"}}));
  ASSERT_EQ(config.webhooks.size(), 1);
  EXPECT_EQ(config.webhooks.at("ci").url, "https://ci.example/hook");
  EXPECT_EQ(config.webhooks.at("ci").ca, "/etc/ca.pem");
  EXPECT_EQ(config.scrub_bytes_per_second, 1000u);
}

TEST(RegistryConfig, ReadsConversionAndTeleport) {
  const auto config =
      parse_config(
          "version = 1\n"
          "[conversion]\nenabled = false\nconcurrency = 3\nthreads = 4\nworker_memory_mib = 512\n"
          "max_layer_mib = 10\nmax_ratio = 20\nmax_entries = 30\nplatforms = [\"linux/arm/v7\"]\n"
          "key = \"/k\"\nkeep_operations_days = 7\nlongest_renewal_s = 60\n"
          "[teleport]\nrepositories = 5\nenable_by_push = true\n",
          "file")
          .value();

  const auto& conversion = config.conversion;
  EXPECT_FALSE(conversion.enabled);
  EXPECT_EQ(conversion.concurrency, 3u);
  EXPECT_EQ(conversion.threads, 4u);
  EXPECT_EQ(conversion.limits.memory_bytes, 512u << 20);
  EXPECT_EQ(conversion.limits.max_plain_bytes, 10u << 20);
  EXPECT_EQ(conversion.limits.max_ratio, 20u);
  EXPECT_EQ(conversion.limits.max_entries, 30u);
  EXPECT_EQ(conversion.platforms, std::vector<std::string>{"linux/arm/v7"});
  EXPECT_EQ(conversion.key, "/k");
  EXPECT_EQ(conversion.keep_operations, std::chrono::days(7));
  EXPECT_EQ(conversion.longest_renewal, std::chrono::minutes(1));
  EXPECT_EQ(config.teleport.repositories, 5u);
  EXPECT_TRUE(config.teleport.enable_by_push);
  for (const auto* wrong : {"platforms = [\"windows/amd64\"]", "platforms = [\"linux/\"]",
                            "concurrency = 0", "worker_memory_mib = 1"})
    EXPECT_FALSE(parse_config(fmt::format("version = 1\n[conversion]\n{}\n", wrong), "file"))
        << wrong;
}

TEST(RegistryConfig, GivesDefaultRolesToNobodyWhoHasASectionHoweverEmpty) {
  for (const auto* keys :
       {"roles = [\"AcrPull\"]\nrepositories = []\n", "roles = []\nrepositories = [\"team/*\"]\n",
        "repositories = []\n", ""}) {
    const auto config = parse_config(
        fmt::format("version = 1\n[auth]\nhtpasswd = \"/h\"\n[users.alice]\n{}", keys), "file");
    ASSERT_TRUE(config) << keys;
    ASSERT_TRUE(config->auth.users.contains("alice")) << keys;
    for (const auto& grant : config->auth.users.at("alice"))
      EXPECT_TRUE(grant.actions.empty()) << keys;
  }
}

TEST(RegistryConfig, RefusesWhatWouldMeanNothing) {
  for (const auto* text : {"[tls]\nkey = \"/k\"\n", "[webhooks.ci]\nrepositories = [\"a\"]\n",
                           "[webhooks.ci]\nurl = \"nowhere\"\n", "[notices]\n\"a*b\" = \"x\"\n",
                           "[notices]\na = \"two\\nlines\"\n", "drain_s = -1\n"})
    EXPECT_FALSE(parse_config(std::string("version = 1\n") + text, "file")) << text;
}

}  // namespace
}  // namespace runnel::registry
