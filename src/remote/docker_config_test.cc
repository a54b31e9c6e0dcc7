#include "remote/docker_config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "base/base64.h"
#include "base/clock.h"
#include "base/durable.h"
#include "remote/docker_login.h"
#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

using namespace std::chrono_literals;

class DockerConfigFile : public ::testing::Test {
 protected:
  void write(const std::string& json) { ASSERT_TRUE(replace_file(path(), as_bytes(json), 0600)); }

  // A helper that runs `script` with sh.
  void write_helper(const std::string& name, const std::string& script) {
    const std::string text = "#!/bin/sh\n" + script + "\n";
    ASSERT_TRUE(
        replace_file(directory_.path() + "/docker-credential-" + name, as_bytes(text), 0755));
    setenv("PATH", (directory_.path() + ":" + old_path_).c_str(), 1);
  }
  void TearDown() override { setenv("PATH", old_path_.c_str(), 1); }

  std::string path() const { return directory_.path() + "/config.json"; }
  Result<std::optional<Credential>> find(std::string_view host,
                                         std::string_view repository = "a/b") {
    return DockerConfig(path(), limits_).find(host, repository);
  }
  static Credential password(std::string user, std::string secret) {
    return {.user = std::move(user), .secret = Secret(std::move(secret))};
  }

  ProgramLimits limits_;

 private:
  test::TempDir directory_;
  const std::string old_path_ = std::getenv("PATH");
};

TEST_F(DockerConfigFile, KnowsNobodyWhenItIsAbsent) {
  auto found = find("example.com");

  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST_F(DockerConfigFile, FindsAHostWithItsPort) {
  write(R"({"auths": {"example.com:5000": {"auth": ")" + to_base64("me:pass:word") + R"("}}})");

  EXPECT_EQ(find("example.com:5000").value(), password("me", "pass:word"));
  EXPECT_EQ(find("example.com").value(), std::nullopt);
  EXPECT_EQ(find("example.com:5001").value(), std::nullopt);
}

TEST_F(DockerConfigFile, FindsDockerHubByItsOldName) {
  write(R"({"auths": {"https://index.docker.io/v1/": {"username": "me", "password": "x"}}})");

  EXPECT_EQ(find("docker.io").value(), password("me", "x"));
}

TEST_F(DockerConfigFile, PrefersTheLongestRepositoryPath) {
  write(R"({"auths": {"h.io": {"username": "host", "password": "1"},
                      "h.io/team": {"username": "team", "password": "2"},
                      "h.io/team/app": {"username": "app", "password": "3"}}})");

  EXPECT_EQ(find("h.io", "team/app").value(), password("app", "3"));
  EXPECT_EQ(find("h.io", "team/application").value(), password("team", "2"));
  EXPECT_EQ(find("h.io", "teams/app").value(), password("host", "1"));
}

TEST_F(DockerConfigFile, TellsTokensFromPasswords) {
  write(R"({"auths": {"a.io": {"auth": ")" + to_base64("00:") + R"(", "identitytoken": "refresh"},
                      "b.io": {"registrytoken": "bearer"}}})");

  EXPECT_EQ(find("a.io").value()->kind, Credential::Kind::kIdentityToken);
  EXPECT_EQ(find("a.io").value()->secret.reveal(), "refresh");
  EXPECT_EQ(find("b.io").value()->kind, Credential::Kind::kBearer);
}

TEST_F(DockerConfigFile, AnErrorNamesTheFileAndNeverTheSecret) {
  write(R"({"auths": {"a.io": {"auth": "hunter2!"}}})");
  auto bad_entry = find("a.io");
  write(R"({"auths": "hunter2!)");
  auto bad_file = find("a.io");

  ASSERT_FALSE(bad_entry);
  ASSERT_FALSE(bad_file);
  for (const auto& error : {bad_entry.error(), bad_file.error()}) {
    EXPECT_NE(error.message.find(path()), std::string::npos);
    EXPECT_EQ(error.message.find("hunter2"), std::string::npos);
  }
}

TEST_F(DockerConfigFile, AsksTheHelperOfTheHost) {
  write_helper("one", R"(read server; echo "{\"Username\": \"u\", \"Secret\": \"for $server\"}")");
  write_helper("all", R"(echo '{"Username": "<token>", "Secret": "t"}')");
  write(R"({"credHelpers": {"a.io": "one"}, "credsStore": "all"})");

  EXPECT_EQ(find("a.io").value(), password("u", "for a.io"));
  EXPECT_EQ(find("b.io").value()->kind, Credential::Kind::kIdentityToken);
  EXPECT_EQ(find("b.io").value()->user, "");
}

TEST_F(DockerConfigFile, FindsAtDockerHubWhatALoginGaveTheHelper) {
  write_helper("keeps", R"(kept=$(dirname "$0")/kept
      case $1 in
        store) cat > "$kept" ;;
        get) read server; grep -F "\"ServerURL\":\"$server\"" "$kept" ||
             { echo credentials not found; exit 1; } ;;
        erase) rm "$kept" ;;
      esac)");
  write(R"({"credsStore": "keeps"})");

  ASSERT_EQ(keep_login(path(), "docker.io", "me", Secret("s")).value(), "docker-credential-keeps");

  EXPECT_EQ(find("docker.io").value(), password("me", "s"));
  EXPECT_TRUE(forget_login(path(), "docker.io").value());
}

TEST_F(DockerConfigFile, GoesOnToItsEntriesWhenTheHelperKnowsNothing) {
  write_helper("none", "echo credentials not found in native keychain; exit 1");
  write(R"({"credsStore": "none", "auths": {"a.io": {"username": "u", "password": "p"}}})");

  EXPECT_EQ(find("a.io").value(), password("u", "p"));
}

TEST_F(DockerConfigFile, ReportsAHelperThatFails) {
  write_helper("broken", "echo secret-ish text; exit 3");
  write(R"({"credsStore": "broken"})");

  auto found = find("a.io");

  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("docker-credential-broken: it failed with exit code 3"),
            std::string::npos)
      << found.error().message;
  EXPECT_EQ(found.error().message.find("secret-ish"), std::string::npos);
}

TEST_F(DockerConfigFile, KillsAHelperThatHangs) {
  write_helper("slow", "sleep 1000 & sleep 1000");
  write(R"({"credsStore": "slow"})");
  limits_.time = 50ms;
  const auto start = std::chrono::steady_clock::now();

  auto found = find("a.io");

  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST_F(DockerConfigFile, DoesNotWaitForWhatAHelperLeftBehind) {
  write_helper("forks", R"(sleep 1000 & echo '{"Username": "u", "Secret": "p"}')");
  write(R"({"credsStore": "forks"})");
  const auto start = std::chrono::steady_clock::now();

  EXPECT_EQ(find("a.io").value(), password("u", "p"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_F(DockerConfigFile, BoundsWhatAHelperMayWrite) {
  write_helper("loud", "while :; do echo 0123456789012345678901234567890123456789; done");
  write(R"({"credsStore": "loud"})");

  auto found = find("a.io");

  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kInvalid);
}

TEST_F(DockerConfigFile, RunsOnlyPlainlyNamedHelpers) {
  for (const char* name : {"../evil", "a b", "-x", "a;b"}) {
    write(R"({"credsStore": ")" + std::string(name) + R"("})");
    auto found = find("a.io");

    ASSERT_FALSE(found) << name;
    EXPECT_EQ(found.error().code, Code::kInvalid);
  }
}

TEST(Base64, GoesThereAndBack) {
  for (const std::string& text :
       std::vector<std::string>{"", "a", "ab", "abc", "abcd", std::string("u\xff\x00p", 4)}) {
    const std::string coded = to_base64(text);
    EXPECT_EQ(coded.size() % 4, 0u);
    EXPECT_EQ(from_base64(coded), text);
  }
  EXPECT_EQ(to_base64("user:pass"), "dXNlcjpwYXNz");
  EXPECT_FALSE(from_base64("a"));
  EXPECT_FALSE(from_base64("ab*="));
}

}  // namespace
}  // namespace runnel::remote
