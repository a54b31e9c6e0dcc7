#include "registry/journal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "support/registry_fixture.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

// No line can be written to it.
void put_on_a_full_disk(const std::string& log) {
  ASSERT_EQ(::symlink("/dev/full", log.c_str()), 0);
}

TEST(Journal, SaysThatLinesAreLostAndGoesOnWhenItWorksAgain) {
  const test::TempDir directory;
  const auto path = directory.path() + "/audit.log";
  put_on_a_full_disk(path);
  const auto journal = Journal::open(path).value();

  testing::internal::CaptureStderr();
  journal->append("lost");
  const auto said = testing::internal::GetCapturedStderr();
  std::filesystem::remove(path);
  journal->reopen();
  journal->append("kept");

  EXPECT_NE(said.find(path + ": lines are lost: "), std::string::npos) << said;
  EXPECT_EQ(as_text(read_file(path, 100).value()), "kept\n");
}

class JournalOnAFullDisk : public test::RegistryFixture {};

TEST_F(JournalOnAFullDisk, CostsNoRequest) {
  config_.audit_log = directory_.path() + "/audit.log";
  config_.access_log = directory_.path() + "/access.log";
  put_on_a_full_disk(config_.audit_log);
  put_on_a_full_disk(config_.access_log);
  restart();
  testing::internal::CaptureStderr();

  push_image("library/app", "v1", {"a layer"});
  EXPECT_EQ(get("/v2/library/app/manifests/v1").status, 200);

  registry_.reset();  // the access log is written behind
  const auto said = testing::internal::GetCapturedStderr();
  for (const auto& log : {config_.audit_log, config_.access_log})
    EXPECT_NE(said.find(log + ": lines are lost: "), std::string::npos) << said;
}

}  // namespace
}  // namespace runnel::registry
