// The doctor on what containerd says of its plugins.
#include <gtest/gtest.h>

#include "node/doctor_parts.h"

namespace runnel::node {
namespace {

using Plugin = snapshot::ContainerdClient::Plugin;

Finding judge(const std::string& version, const std::vector<std::string>& capabilities,
              const std::string& error = "") {
  return judge_snapshotter({{.type = "io.containerd.snapshotter.v1",
                             .id = "runnel",
                             .error = error,
                             .capabilities = capabilities}},
                           version, "/run/x.sock");
}

TEST(DoctorContainerd, SeesThatContainerdWouldCopyImagesForUserNamespaces) {
  for (const char* version : {"1.7.24", "v2.3.7"}) {
    const auto without = judge(version, {});
    EXPECT_EQ(without.level, Finding::Level::kWarning) << version;
    EXPECT_TRUE(without.advice.contains("remap-ids")) << without.advice;
    EXPECT_EQ(judge(version, {"remap-ids"}).level, Finding::Level::kOk) << version;
  }
  EXPECT_EQ(judge("1.6.20~ds1", {}).level, Finding::Level::kOk) << "it asks for no capability";
}

TEST(DoctorContainerd, SeesASnapshotterThatIsNotThereOrDidNotStart) {
  const auto none = judge_snapshotter({}, "v2.3.7", "/run/x.sock");

  EXPECT_EQ(none.level, Finding::Level::kFailure);
  EXPECT_TRUE(none.advice.contains("/run/x.sock") && none.advice.contains("remap-ids"));
  EXPECT_EQ(judge("v2.3.7", {"remap-ids"}, "no such file").level, Finding::Level::kFailure);
}

}  // namespace
}  // namespace runnel::node
