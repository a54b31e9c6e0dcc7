#include "node/left_mounts.h"

#include <gtest/gtest.h>

namespace runnel::node {
namespace {

const std::string kOne(64, '1');
const std::string kTwo(64, '2');

TEST(LeftMounts, AreThoseOfNoImage) {
  const KnownImages known{.subjects = {kOne}, .damaged = {}, .chain_ids = {"sha256:a"}};

  EXPECT_EQ(left_mounts({kOne + "-1", kTwo + "-3", kTwo + "-1"}, known, {"sha256:a"}),
            (std::vector<std::string>{kTwo + "-3", kTwo + "-1"}));
  EXPECT_TRUE(left_mounts({}, known, {"sha256:a"}).empty());
}

TEST(LeftMounts, AreNotThoseOfAnImageThatCouldNotBeLoaded) {
  const KnownImages known{.subjects = {}, .damaged = {kTwo}, .chain_ids = {}};

  EXPECT_TRUE(left_mounts({kTwo + "-1"}, known, {}).empty());
}

TEST(LeftMounts, AreNoneWhenASnapshotIsOfNoKnownImage) {
  const KnownImages known{.subjects = {kOne}, .damaged = {}, .chain_ids = {"sha256:a"}};

  EXPECT_TRUE(left_mounts({kTwo + "-1"}, known, {"sha256:a", "sha256:b"}).empty());
}

TEST(LeftMounts, AreNotWhatTheNodeDidNotMount) {
  EXPECT_TRUE(left_mounts({"", "mine", "a-1", kOne, std::string(64, 'x') + "-1"}, {}, {}).empty());
}

}  // namespace
}  // namespace runnel::node
