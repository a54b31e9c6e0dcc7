// What the doctor says, by the line.
#include "node/doctor.h"

#include <gtest/gtest.h>

#include "node/doctor_parts.h"

namespace runnel::node {
namespace {

constexpr uint64_t kGiB = 1 << 30;

std::string lines(const Finding& finding) {
  return to_text({finding});
}

TEST(Doctor, PrintsALineForWhatIsGoodAndWhatToDoBelowTheRest) {
  const Findings findings = {good("mirror", "127.0.0.1:8578 is answered by a node"),
                             poor("disk: space", "1 GiB free", "remove images"),
                             bad("permissions: root", "this is user 1000", "run it as root")};

  EXPECT_EQ(to_text(findings),
            "OK    mirror: 127.0.0.1:8578 is answered by a node\n"
            "WARN  disk: space: 1 GiB free\n"
            "      remove images\n"
            "FAIL  permissions: root: this is user 1000\n"
            "      run it as root\n");
  EXPECT_TRUE(has_failure(findings));
  EXPECT_FALSE(has_failure({findings[0], findings[1]}));
  EXPECT_EQ(to_json({findings[1]}),
            R"({"healthy":true,"findings":[{"level":"WARN","subject":"disk: space",)"
            R"("found":"1 GiB free","advice":"remove images"}]})");
}

TEST(Doctor, SaysWhichRegistriesGoThroughTheMirrorAndHowTo) {
  const auto judge = [](const std::vector<std::string>& hosts) {
    return lines(judge_hosts(hosts, "/etc/containerd/certs.d", "127.0.0.1:8578"));
  };

  EXPECT_EQ(judge({"docker.io", "registry.example:5000"}),
            "OK    containerd: hosts.toml: through the mirror: docker.io, registry.example:5000\n");
  EXPECT_EQ(judge({}),
            "WARN  containerd: hosts.toml: no registry below /etc/containerd/certs.d goes through "
            "the mirror 127.0.0.1:8578\n"
            "      runnel node install --registry HOST names one; by hand: "
            "/etc/containerd/certs.d/HOST/hosts.toml with server = \"https://HOST\" and "
            "[host.\"http://127.0.0.1:8578\"] capabilities = [\"pull\", \"resolve\"]\n");
  EXPECT_EQ(judge({"_default"}),
            "WARN  containerd: hosts.toml: every registry goes through the mirror: _default\n"
            "      name the registries that have artifacts (runnel node install --registry HOST), "
            "and remove it from /etc/containerd/certs.d/_default/hosts.toml\n");
}

TEST(Doctor, SaysWhatARegistryAnsweredAndWhereThatIsPutRight) {
  const auto judge = [](const Result<int>& status) {
    return lines(judge_registry("registry.example", "https://registry.example", status));
  };

  EXPECT_EQ(judge(200), "OK    registry: registry.example: answers\n");
  EXPECT_EQ(judge(401), "OK    registry: registry.example: answers, and wants credentials\n");
  EXPECT_EQ(judge(404),
            "FAIL  registry: registry.example: https://registry.example/v2/ answers 404\n"
            "      an OCI registry answers 200 or 401: is the server in its hosts.toml right?\n");
  EXPECT_EQ(
      judge(fail(Code::kUnavailable, "connect: refused")),
      "FAIL  registry: registry.example: connect: refused\n"
      "      check name, port, proxy and certificates in its hosts.toml, or in "
      "[registry.\"registry.example\"] of node.toml: plain_http = true for one without TLS\n");
}

TEST(Doctor, SaysWhichLimitOfTheDiskIsReached) {
  using State = cache::Budget::State;
  const auto judge = [](State state, uint64_t used) {
    cache::Budget::Status status;
    status.state = state;
    status.used = used;
    status.max_bytes = 20 * kGiB;
    status.min_free = 10 * kGiB;
    status.reserve = kGiB / 2;
    return lines(judge_space("9.0 GiB of 100.0 GiB free below /var/lib", status));
  };

  EXPECT_EQ(judge(State::kRoom, kGiB),
            "OK    disk: space: 9.0 GiB of 100.0 GiB free below /var/lib\n");
  EXPECT_EQ(judge(State::kFull, kGiB),
            "FAIL  disk: space: 9.0 GiB of 100.0 GiB free below /var/lib\n"
            "      below 512 MiB free (cache.reserve) nothing more can be read that is not here: "
            "remove images, or move --root\n");
  EXPECT_EQ(judge(State::kNoFilling, 21 * kGiB),
            "WARN  disk: space: 9.0 GiB of 100.0 GiB free below /var/lib\n"
            "      the cache takes 21.0 GiB of 20.0 GiB (cache.max_bytes), so nothing is fetched "
            "ahead: runnel node clear, or allow more\n");
  EXPECT_EQ(
      judge(State::kNoFilling, kGiB),
      "WARN  disk: space: 9.0 GiB of 100.0 GiB free below /var/lib\n"
      "      below 10.0 GiB free (cache.min_free) nothing is fetched ahead: remove images, or "
      "add space\n");
}

}  // namespace
}  // namespace runnel::node
