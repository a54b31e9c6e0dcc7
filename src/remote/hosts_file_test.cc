#include "remote/hosts_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <csignal>
#include <future>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

class HostsFiles : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    const auto path = dir_.path() + "/" + name;
    ASSERT_TRUE(make_directories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(replace_file(path, as_bytes(text)));
  }
  Hosts hosts() const {
    Hosts made;
    made.set_directory(dir_.path());
    return made;
  }

  test::TempDir dir_;
};

TEST_F(HostsFiles, SayWhereARegistryIsAndHowItIsSpokenTo) {
  write("r.example/ca.pem", "PEM-A");
  write("r.example/other.pem", "PEM-B");
  write("r.example/hosts.toml",
        "server = \"https://real.example:8443\"\nca = [\"ca.pem\", \"" + dir_.path() +
            "/r.example/other.pem\"]\nclient = [[\"cert.pem\", \"/keys/key.pem\"]]\n"
            "[header]\nx-site = \"one\"\nx-list = [\"a\", \"b\"]\n"
            "[host.\"http://127.0.0.1:8578\"]\ncapabilities = [\"pull\", \"resolve\"]\n");

  const auto endpoint = hosts().endpoint("r.example");

  EXPECT_EQ(endpoint.host, "r.example");
  EXPECT_EQ(endpoint.url, "https://real.example:8443");
  EXPECT_FALSE(endpoint.plain_http);
  ASSERT_TRUE(endpoint.tls);
  EXPECT_EQ(endpoint.tls->authorities, "PEM-A\nPEM-B\n");
  EXPECT_EQ(endpoint.tls->certificate_file, dir_.path() + "/r.example/cert.pem");
  EXPECT_EQ(endpoint.tls->key_file, "/keys/key.pem");
  EXPECT_EQ(endpoint.tls_elsewhere->authorities, endpoint.tls->authorities);
  EXPECT_TRUE(endpoint.tls_elsewhere->certificate_file.empty()) << "it is for the registry only";
  EXPECT_EQ(endpoint.headers, (net::Headers{{"x-list", "a"}, {"x-list", "b"}, {"x-site", "one"}}));
}

TEST_F(HostsFiles, AreFoundUnderBothNamesOfAHostWithAPort) {
  write("a.example:5000/hosts.toml", "server = \"http://a.example:5000\"\n");
  write("b.example_5000_/hosts.toml", "server = \"http://b.example:5000\"\n");
  write("[::1]_5000_/hosts.toml", "server = \"https://[::1]:5000\"\n");

  EXPECT_EQ(hosts().endpoint("a.example:5000").url, "http://a.example:5000");
  EXPECT_EQ(hosts().endpoint("b.example:5000").url, "http://b.example:5000");
  EXPECT_TRUE(hosts().endpoint("b.example:5000").plain_http);
  EXPECT_EQ(hosts().endpoint("[::1]:5000").url, "https://[::1]:5000");
}

TEST_F(HostsFiles, TakeTheSettingsOfTheRegistryAsAHostOfItsOwn) {
  const auto file = parse_hosts_file(
      "server = \"https://r.example\"\n[host.\"https://m.example\"]\nskip_verify = false\n"
      "[host.\"https://r.example\"]\nskip_verify = true\n",
      "/x/hosts.toml");

  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE(file->settings.tls);
  EXPECT_FALSE(file->settings.tls->check_peer);
  EXPECT_EQ(file->mirrors, (std::vector<std::string>{"https://m.example", "https://r.example"}));
}

TEST_F(HostsFiles, ConfigureARegistryWhenTheyNameOurMirror) {
  const std::vector<std::string> kMirror = {"http://localhost:8578", "http://127.0.0.1:8578"};
  write("ours/hosts.toml", "[host.\"http://127.0.0.1:8578/v2/\"]\n");
  write("other/hosts.toml", "[host.\"http://127.0.0.1:9999\"]\n");
  write("_default/hosts.toml", "ca = []\n[host.\"http://127.0.0.1:8578\"]\n");
  Hosts all = hosts();
  all.set("said", {.plain_http = true});

  EXPECT_TRUE(all.is_configured("ours", kMirror));
  EXPECT_TRUE(all.is_configured("said", kMirror));
  EXPECT_FALSE(all.is_configured("other", kMirror));
  EXPECT_FALSE(all.is_configured("nobody", kMirror)) << "the default names nobody";
}

// A lease on the file holds up who opens it, as a disk does that hangs.
TEST_F(HostsFiles, OfOtherHostsAreReadWhileOneCannotBe) {
  write("held.example/hosts.toml", "server = \"https://held.example:1\"\n");
  write("other.example/hosts.toml", "server = \"https://other.example:2\"\n");
  const auto all = hosts();
  const UniqueFd held = open_file(dir_.path() + "/held.example/hosts.toml", O_RDWR).value();
  std::signal(SIGIO, SIG_IGN);  // tells that somebody opens it
  ASSERT_EQ(::fcntl(held.get(), F_SETLEASE, F_WRLCK), 0);

  auto waits = std::async(std::launch::async, [&] { return all.endpoint("held.example").url; });
  while (::fcntl(held.get(), F_GETLEASE) == F_WRLCK) std::this_thread::yield();

  EXPECT_EQ(all.endpoint("other.example").url, "https://other.example:2");
  EXPECT_EQ(waits.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_EQ(::fcntl(held.get(), F_SETLEASE, F_UNLCK), 0);
  EXPECT_EQ(waits.get(), "https://held.example:1");
}

TEST_F(HostsFiles, AreNotLookedForOutsideTheirDirectory) {
  write("x/hosts.toml", "server = \"http://wrong\"\n");
  Hosts inner;
  inner.set_directory(dir_.path() + "/y");
  ASSERT_TRUE(make_directories(dir_.path() + "/y"));

  for (const char* host : {"../x", "..", ".", ""})
    EXPECT_FALSE(read_hosts_file(dir_.path() + "/y", host, true)) << host;
}

TEST_F(HostsFiles, ThatMakeNoSenseAreErrorsWithTheirPlace) {
  for (const std::string bad :
       {"server = \"https://r.example/some/path\"", "server = \"ftp://x\"", "= 1",
        "ca = \"/no/such/file.pem\"", "[header]\n\"bad name\" = \"x\""}) {
    const auto file = parse_hosts_file(bad, "/etc/x/hosts.toml");
    ASSERT_FALSE(file) << bad;
    EXPECT_NE(file.error().message.find(bad.starts_with("ca") ? "file.pem" : "/etc/x/hosts.toml"),
              std::string::npos)
        << file.error().message;
  }
}

TEST_F(HostsFiles, ThatCannotBeFollowedSendNobodyElsewhere) {
  const std::string kMirror = "\n[host.\"http://127.0.0.1:8578\"]\n";
  write("docker.io/hosts.toml", "server = \"https://harbor.example/v2/hub\"" + kMirror);
  write("broken/hosts.toml", "= 1");
  write("no.certificate/hosts.toml", "ca = \"/no/such/file.pem\"" + kMirror);
  const Hosts made = hosts();

  for (const char* host : {"docker.io", "broken", "no.certificate"}) {
    const auto endpoint = made.endpoint(host);
    ASSERT_TRUE(endpoint.refused) << host;
    EXPECT_NE(endpoint.refused->message.find(host), std::string::npos) << endpoint.refused->message;
    EXPECT_EQ(endpoint.url, "") << "a caller that does not look sends nothing either";
    EXPECT_FALSE(made.is_configured(host, {"http://127.0.0.1:8578"}));
  }
  EXPECT_FALSE(made.endpoint("other").refused);

  write("_default/hosts.toml", "server = \"https://harbor.example/v2/all\"");
  EXPECT_TRUE(hosts().endpoint("other").refused) << "containerd would follow the default";
}

}  // namespace
}  // namespace runnel::remote
