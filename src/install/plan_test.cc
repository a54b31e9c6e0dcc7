#include "install/plan.h"

#include <gtest/gtest.h>

#include "install/toml_text.h"

namespace runnel::install {

namespace {

// What Debian ships, and what its containerd makes of it (shortened).
constexpr const char* kDebian = R"(version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
)";
constexpr const char* kDebianEffective = R"(version = 2
disabled_plugins = []
imports = ["/etc/containerd/config.toml"]
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.6"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "overlayfs"
      disable_snapshot_annotations = true
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""
)";
constexpr const char* kTwoEffective = R"(version = 3
disabled_plugins = []
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = ""
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "registry.k8s.io/pause:3.10"
)";

Found debian() {
  Found found;
  found.config_path = "/etc/containerd/config.toml";
  found.config_text = kDebian;
  found.effective = kDebianEffective;
  found.certs_directory = "/etc/containerd/certs.d";
  return found;
}

Found two() {
  auto found = debian();
  found.major = 2;
  found.minor = 3;
  found.config_text = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
  found.effective = kTwoEffective;
  return found;
}

// containerd 2 on a main file of 1.7: kind's nodes, and whoever upgrades.
Found two_on_version_2() {
  auto found = two();
  found.config_text = kDebian;
  return found;
}

Wanted wanted(const std::vector<std::string>& registries = {}) {
  Wanted wanted{.snapshotter_socket = "/run/runnel/snapshotter.sock",
                .node_root = "/var/lib/x",
                .mirror = "127.0.0.1:8578",
                .registries = {}};
  for (const auto& each : registries) wanted.registries.push_back(*Registry::parse(each));
  return wanted;
}

// The change of that file; fails the test when there is none.
std::string after(const Plan& plan, const std::string& path) {
  for (const auto& change : plan.changes) {
    if (change.path == path) return change.after;
  }
  ADD_FAILURE() << "no change of " << path;
  return {};
}

Plan with_hosts(const std::string& registry, const Found::Hosts& hosts) {
  auto found = debian();
  const auto parsed = *Registry::parse(registry);
  found.hosts[parsed.host] = hosts;
  auto made = plan(found, wanted({registry}));
  EXPECT_TRUE(made) << made.error().message;
  return made ? *made : Plan();
}

const std::string kHosts = "/etc/containerd/certs.d/r.example/hosts.toml";

}  // namespace

TEST(InstallPlan, SetsTheKeysOfContainerd1InItsMainFile) {
  const auto made = plan(debian(), wanted());

  ASSERT_TRUE(made) << made.error().message;
  const auto main = after(*made, "/etc/containerd/config.toml");
  const TomlPath cri = {"plugins", "io.containerd.grpc.v1.cri"};
  EXPECT_EQ(toml_value(main, {cri[0], cri[1], "containerd", "snapshotter"}), TomlValue("runnel"));
  EXPECT_EQ(toml_value(main, {cri[0], cri[1], "containerd", "disable_snapshot_annotations"}),
            TomlValue(false));
  EXPECT_EQ(toml_value(main, {cri[0], cri[1], "registry", "config_path"}),
            TomlValue("/etc/containerd/certs.d"));
  EXPECT_EQ(toml_value(main, {cri[0], cri[1], "cni", "bin_dir"}), TomlValue("/usr/lib/cni"));
  EXPECT_EQ(toml_value(main, {"imports"}),
            TomlValue(std::vector<std::string>{"/etc/containerd/conf.d/runnel.toml"}));
  const auto drop_in = after(*made, "/etc/containerd/conf.d/runnel.toml");
  EXPECT_EQ(toml_value(drop_in, {"proxy_plugins", "runnel", "address"}),
            TomlValue("/run/runnel/snapshotter.sock"));
  EXPECT_FALSE(toml_has(drop_in, cri)) << "1.x takes the whole section of the last file";
}

TEST(InstallPlan, PutsTheKeysOfContainerd1IntoTheDropInWhenTheMainFileHasNone) {
  auto found = debian();
  found.config_text = "version = 2\n";

  const auto made = plan(found, wanted());

  ASSERT_TRUE(made) << made.error().message;
  const auto drop_in = after(*made, "/etc/containerd/conf.d/runnel.toml");
  EXPECT_EQ(
      toml_value(drop_in, {"plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter"}),
      TomlValue("runnel"));
}

TEST(InstallPlan, WritesTheDropInAloneForContainerd2) {
  const auto made = plan(two(), wanted());

  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->changes.size(), 1u) << "conf.d is imported already";
  const auto drop_in = after(*made, "/etc/containerd/conf.d/runnel.toml");
  EXPECT_EQ(toml_value(drop_in, {"version"}), TomlValue(int64_t{3}));
  EXPECT_EQ(toml_value(drop_in, {"plugins", "io.containerd.cri.v1.images", "snapshotter"}),
            TomlValue("runnel"));
  EXPECT_TRUE(toml_has(drop_in, {"plugins", "io.containerd.transfer.v1.local", "unpack_config"}));
  EXPECT_EQ(toml_value(drop_in, {"proxy_plugins", "runnel", "exports", "root"}),
            TomlValue("/var/lib/x"));
  EXPECT_FALSE(toml_has(drop_in, {"plugins", "io.containerd.grpc.v1.cri"}));
}

TEST(InstallPlan, WritesNoDropInThatIsNewerThanTheMainFile) {
  const auto made = plan(two_on_version_2(), wanted());

  ASSERT_TRUE(made) << made.error().message;
  const auto drop_in = after(*made, "/etc/containerd/conf.d/runnel.toml");
  EXPECT_EQ(toml_value(drop_in, {"version"}), TomlValue(int64_t{2}));
  EXPECT_EQ(toml_value(drop_in, {"plugins", "io.containerd.cri.v1.images", "snapshotter"}),
            TomlValue("runnel"));
  EXPECT_EQ(
      toml_value(drop_in, {"plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter"}),
      TomlValue("runnel"));
  EXPECT_EQ(
      toml_value(drop_in, {"plugins", "io.containerd.grpc.v1.cri", "registry", "config_path"}),
      toml_value(drop_in, {"plugins", "io.containerd.cri.v1.images", "registry", "config_path"}));
  EXPECT_TRUE(toml_has(drop_in, {"plugins", "io.containerd.transfer.v1.local", "unpack_config"}));
}

TEST(InstallPlan, WritesADropInOfVersion3BesideANewerMainFile) {
  auto found = two();
  found.config_text = "version = 4\n";

  const auto made = plan(found, wanted());

  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(toml_value(after(*made, "/etc/containerd/conf.d/runnel.toml"), {"version"}),
            TomlValue(int64_t{3}));
}

TEST(InstallPlan, ImportsTheDropInAlsoWhereContainerd2SaysThatItDoes) {
  for (const std::optional<std::string>& text :
       {std::optional<std::string>(), std::optional<std::string>("version = 3\n")}) {
    auto found = two();
    found.config_text = text;

    const auto made = plan(found, wanted());

    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(toml_value(after(*made, found.config_path), {"imports"}),
              TomlValue(std::vector<std::string>{"/etc/containerd/conf.d/runnel.toml"}));
  }
}

TEST(InstallPlan, SaysThatTheSnapshotterMapsOwnersWhereContainerdAsks) {
  const TomlPath key = {"proxy_plugins", "runnel", "capabilities"};
  const auto capabilities = [&](Found found) {
    const auto made = plan(found, wanted());
    return toml_value(after(*made, "/etc/containerd/conf.d/runnel.toml"), key);
  };
  auto seven = debian();
  seven.minor = 7;

  EXPECT_EQ(capabilities(two()), TomlValue(std::vector<std::string>{"remap-ids"}));
  EXPECT_EQ(capabilities(seven), TomlValue(std::vector<std::string>{"remap-ids"}));
  EXPECT_EQ(capabilities(debian()), std::nullopt);
}

TEST(InstallPlan, HasNothingToDoTheSecondTime) {
  auto found = debian();
  found.hosts["r.example"] = {
      .path = kHosts, .text = {}, .default_text = {}, .other_files = {}, .refused = {}};
  const auto first = *plan(found, wanted({"r.example"}));

  found.config_text = after(first, found.config_path);
  found.drop_in_text = after(first, "/etc/containerd/conf.d/runnel.toml");
  found.hosts["r.example"].text = after(first, kHosts);
  const auto second = plan(found, wanted({"r.example"}));

  ASSERT_TRUE(second);
  EXPECT_TRUE(second->changes.empty());
}

TEST(InstallPlan, KeepsEveryDirectoryOfHostsFilesThatIsConfigured) {
  auto found = debian();
  const std::string old = "config_path = \"\"";
  found.effective.replace(found.effective.find(old), old.size(), "config_path = \"/a:/b\"");

  const auto made = plan(found, wanted());

  ASSERT_TRUE(made);
  EXPECT_EQ(toml_value(after(*made, found.config_path),
                       {"plugins", "io.containerd.grpc.v1.cri", "registry", "config_path"}),
            TomlValue("/a:/b"));
  EXPECT_EQ(certs_directory(found.effective, 1, "/x"), "/a");
}

TEST(InstallPlan, RefusesRegistriesConfiguredTheOldWay) {
  const std::string effective = std::string(kDebianEffective) +
                                "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"a\"]\n"
                                "endpoint = [\"http://x\"]\n";

  const auto directory = certs_directory(effective, 1, "/etc/containerd/certs.d");

  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, Code::kUnsupported);
}

TEST(InstallPlan, RefusesAConfigurationOfVersion1) {
  auto found = debian();
  found.config_text = "[plugins.cri]\n";

  const auto made = plan(found, wanted());

  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("config migrate"), std::string::npos);
}

TEST(InstallPlan, WritesHostsThatAskTheMirrorFirst) {
  const auto made = with_hosts(
      "r.example",
      {.path = kHosts, .text = {}, .default_text = {}, .other_files = {}, .refused = {}});

  const auto hosts = after(made, kHosts);
  EXPECT_EQ(toml_value(hosts, {"server"}), TomlValue("https://r.example"));
  EXPECT_EQ(toml_value(hosts, {"host", "http://127.0.0.1:8578", "capabilities"}),
            TomlValue(std::vector<std::string>{"pull", "resolve"}));
}

TEST(InstallPlan, AddsTheMirrorToHostsThatAreThere) {
  const std::string old =
      "# mine\nserver = \"https://r.example\"\n\n[host.\"https://cache\"]\n  skip_verify = true\n";

  const auto made = with_hosts(
      "r.example",
      {.path = kHosts, .text = old, .default_text = {}, .other_files = {}, .refused = {}});

  const auto hosts = after(made, kHosts);
  EXPECT_TRUE(hosts.starts_with("# mine\n"));
  EXPECT_LT(hosts.find("127.0.0.1:8578"), hosts.find("https://cache"));
  EXPECT_TRUE(hosts.ends_with("skip_verify = true\n"));
  ASSERT_EQ(made.notes.size(), 1u);
  EXPECT_TRUE(made.notes[0].contains("https://cache came first")) << made.notes[0];
}

TEST(InstallPlan, SaysNothingOfTheRegistryItselfAmongItsHosts) {
  const std::string old = "server = \"https://r.example\"\n[host.\"https://r.example\"]\n";

  const auto made = with_hosts(
      "r.example",
      {.path = kHosts, .text = old, .default_text = {}, .other_files = {}, .refused = {}});

  EXPECT_TRUE(made.notes.empty());
}

TEST(InstallPlan, RefusesHostsThatTheNodeCannotFollow) {
  auto found = debian();
  found.hosts["r.example"] = {.path = kHosts,
                              .text = "server = \"https://harbor.example/v2/hub\"\n",
                              .default_text = {},
                              .other_files = {},
                              .refused = kHosts + ": a path other than /v2 is not supported"};

  const auto made = plan(found, wanted({"r.example"}));

  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnsupported);
  EXPECT_TRUE(made.error().message.contains("leave this registry to containerd"))
      << made.error().message;
}

TEST(InstallPlan, RefusesHostsThatItCannotMerge) {
  auto found = debian();
  found.hosts["r.example"] = {.path = kHosts,
                              .text = "host = { a = {} }\n",
                              .default_text = {},
                              .other_files = {},
                              .refused = {}};

  const auto made = plan(found, wanted({"r.example"}));

  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnsupported);
  EXPECT_NE(made.error().message.find(kHosts), std::string::npos);
}

TEST(InstallPlan, RefusesToHideCertificateFiles) {
  auto found = debian();
  found.hosts["r.example"] = {
      .path = kHosts, .text = {}, .default_text = {}, .other_files = {"ca.crt"}, .refused = {}};

  const auto made = plan(found, wanted({"r.example"}));

  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("ca.crt"), std::string::npos);
}

TEST(InstallPlan, CarriesOverWhatTheDefaultDidForAHost) {
  const auto made = with_hosts("r.example", {.path = kHosts,
                                             .text = {},
                                             .default_text = "[host.\"https://m\"]\n",
                                             .other_files = {},
                                             .refused = {}});

  const auto hosts = after(made, kHosts);
  EXPECT_LT(hosts.find("127.0.0.1:8578"), hosts.find("https://m"));
  EXPECT_FALSE(made.notes.empty());
}

TEST(InstallPlan, FindsADifferenceThatNobodyMeant) {
  const std::string after_text =
      std::string(kDebianEffective) +
      "[proxy_plugins.runnel]\naddress = \"/run/runnel/snapshotter.sock\"\n";
  std::string lost = after_text;
  lost.replace(lost.find("/usr/lib/cni"), 12, "/opt/cni/bin");

  const auto checked = check_effect(kDebianEffective, lost, 1, "/etc/containerd/certs.d");

  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Code::kConflict);
  EXPECT_NE(checked.error().message.find("bin_dir"), std::string::npos);
}

TEST(InstallPlan, FindsThatAnotherFileWins) {
  const std::string after_text =
      std::string(kDebianEffective) +
      "[proxy_plugins.runnel]\naddress = \"/run/runnel/snapshotter.sock\"\n";

  const auto checked = check_effect(kDebianEffective, after_text, 1, "/etc/containerd/certs.d");

  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find("overlayfs"), std::string::npos);
}

TEST(InstallPlan, TakesRegistriesAsPeopleWriteThem) {
  EXPECT_EQ(Registry::parse("https://r.example/")->host, "r.example");
  EXPECT_EQ(Registry::parse("http://r.example:5000")->server(), "http://r.example:5000");
  EXPECT_EQ(Registry::parse("127.0.0.1:5000")->server(), "http://127.0.0.1:5000");
  EXPECT_EQ(Registry::parse("docker.io")->server(), "https://registry-1.docker.io");
  for (const char* bad : {"", "_default", "../x", "a/b", ".", "a b"})
    EXPECT_FALSE(Registry::parse(bad)) << bad;
}

TEST(InstallPlan, KnowsWhereContainerdLooksForAHost) {
  EXPECT_EQ(host_directories("r:5000"), (std::vector<std::string>{"r_5000_", "r:5000"}));
  EXPECT_EQ(host_directories("r.example"), (std::vector<std::string>{"r.example"}));
}

TEST(WhatStreams, IsNothingWhereNoRegistryIsAskedThroughTheNode) {
  EXPECT_EQ(what_streams({}),
            "no image streams yet, because containerd asks no registry through the node. Name one, "
            "as image names do: runnel node install --registry registry.example.com:5000 (and what "
            "else was said now)");
}

TEST(WhatStreams, IsWhatWasConvertedInTheNamedRegistries) {
  EXPECT_EQ(what_streams({"b.example", "a.example:5000"}),
            "images of a.example:5000, b.example stream when they are pulled and have a streaming "
            "artifact, which runnel convert IMAGE makes");
}

}  // namespace runnel::install
