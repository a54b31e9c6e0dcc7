#include "cli/pull_text.h"

#include <gtest/gtest.h>

namespace runnel::cli {
namespace {

using std::chrono::seconds;

const std::string kImage = "registry.example/team/app:v1";

PullOptions options(const std::string& user = "") {
  PullOptions out;
  out.address = "/run/containerd/containerd.sock";
  out.timeout_s = 600;
  out.user = user;
  return out;
}

std::string said(Code code, const std::string& words, const PullOptions& of = options(),
                 seconds took = seconds(1)) {
  return pull_error({code, "containerd at /run/containerd/containerd.sock: " + words}, of, kImage,
                    took, true)
      .message;
}

TEST(PullText, NamesTheImageItsIdAndTheTime) {
  EXPECT_EQ(pulled_line(kImage, "sha256:1234", std::chrono::duration<double>(1.5)),
            "registry.example/team/app:v1 sha256:1234 in 1.50 s");
}

TEST(PullText, SaysThatContainerdDoesNotRun) {
  EXPECT_EQ(
      pull_error({Code::kUnavailable, "connect"}, options(), kImage, seconds(0), false).message,
      "there is no socket /run/containerd/containerd.sock: containerd does not run, or listens "
      "elsewhere. Start it, or say --containerd-address");
}

TEST(PullText, SaysHowToNameWhoPullsWhereTheRegistryWantsToKnow) {
  EXPECT_EQ(
      said(Code::kUnavailable, "failed to authorize: 401 Unauthorized"),
      "registry.example/team/app:v1: containerd at /run/containerd/containerd.sock: failed to "
      "authorize: 401 Unauthorized; the registry wants to know who pulls: runnel pull IMAGE "
      "--user NAME --password-stdin gives what a pod's secret has");
  EXPECT_EQ(said(Code::kUnavailable, "403 Forbidden", options("alice")),
            "registry.example/team/app:v1: containerd at /run/containerd/containerd.sock: 403 "
            "Forbidden; it refused alice: is the password right, and may alice pull this?");
}

TEST(PullText, SaysThatTheTimeWasOver) {
  EXPECT_EQ(said(Code::kUnavailable, "Deadline Exceeded", options(), seconds(600)),
            "registry.example/team/app:v1: containerd at /run/containerd/containerd.sock had not "
            "pulled it after 600 s (--timeout); its log says what it waits for (journalctl -u "
            "containerd)");
}

TEST(PullText, SaysWhereToLookWhenContainerdFailed) {
  EXPECT_EQ(
      said(Code::kUnavailable, "failed to copy: EOF"),
      "registry.example/team/app:v1: containerd at /run/containerd/containerd.sock: failed to "
      "copy: EOF; containerd's log says more (journalctl -u containerd), and `runnel doctor` "
      "looks at what a pull needs");
}

TEST(PullText, SaysThatContainerdHasNoCri) {
  EXPECT_EQ(pull_error({Code::kUnsupported, "containerd at /s has no CRI image service: unknown"},
                       options(), kImage, seconds(0), true)
                .message,
            "registry.example/team/app:v1: containerd at /s has no CRI image service: unknown; its "
            "CRI plugin is disabled (disabled_plugins in its configuration), and pulls of clients "
            "that need none, such as ctr, stream all the same");
}

TEST(PullText, AddsNothingWhereTheWordsSayItAll) {
  EXPECT_EQ(said(Code::kNotFound, "registry.example/team/app:v1: not found"),
            "registry.example/team/app:v1: containerd at /run/containerd/containerd.sock: "
            "registry.example/team/app:v1: not found");
}

}  // namespace
}  // namespace runnel::cli
