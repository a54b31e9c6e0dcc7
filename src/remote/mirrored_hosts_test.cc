#include "remote/mirrored_hosts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace runnel::remote {
namespace {

class MirroredHosts : public testing::Test {
 protected:
  void write(const std::string& host, const std::string& text) {
    std::filesystem::create_directories(dir_.path() + "/" + host);
    std::ofstream(dir_.path() + "/" + host + "/hosts.toml") << text;
  }

  test::TempDir dir_;
};

TEST_F(MirroredHosts, AreThoseWhoseFileNamesTheMirror) {
  write("registry.example:5000", "[host.\"http://127.0.0.1:8578\"]\n");
  write("docker.io", "[host.\"http://localhost:8578\"]\n");
  write("quay.io", "[host.\"http://127.0.0.1:85781\"]\n");
  std::filesystem::create_directories(dir_.path() + "/empty");

  EXPECT_EQ(mirrored_hosts(dir_.path(), "127.0.0.1:8578"),
            (std::vector<std::string>{"docker.io", "registry.example:5000"}));
}

TEST_F(MirroredHosts, AreNamedAsInImageNamesHoweverTheirDirectoryIs) {
  for (const char* name : {"registry.example_5000_", "[::1]_5000_", "_default", "_", "odd_"})
    write(name, "[host.\"http://127.0.0.1:8578\"]\n");

  EXPECT_EQ(
      mirrored_hosts(dir_.path(), "127.0.0.1:8578"),
      (std::vector<std::string>{"[::1]:5000", "_", "_default", "odd_", "registry.example:5000"}));
}

TEST_F(MirroredHosts, AreNoneWithoutADirectory) {
  EXPECT_TRUE(mirrored_hosts(dir_.path() + "/none", "127.0.0.1:8578").empty());
}

}  // namespace
}  // namespace runnel::remote
