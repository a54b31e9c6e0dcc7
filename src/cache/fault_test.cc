#include "cache/fault.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

// In a process of its own, whose environment says `text` before anything passes a point.
[[noreturn]] void pass_with(const char* text, std::string_view point, int times) {
  ::setenv("RUNNEL_FAULT", text, 1);
  int errors = 0;
  for (int i = 0; i < times; ++i) errors += fault(point) != 0 ? 1 : 0;
  ::_exit(errors);
}

TEST(FaultDeathTest, KillsAtThePassThatWasAskedFor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  EXPECT_EXIT(pass_with("before-sync:kill:3", "before-sync", 3), testing::KilledBySignal(SIGKILL),
              "injected");
  EXPECT_EXIT(pass_with("before-sync:kill:3", "before-sync", 2), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(pass_with("before-sync:kill", "mid-fetch", 9), testing::ExitedWithCode(0), "");
}

TEST(FaultDeathTest, FailsFromThePassThatWasAskedFor) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  EXPECT_EXIT(pass_with("mid-fetch:kill,write:ENOSPC:3", "write", 5), testing::ExitedWithCode(3),
              "injected");
}

TEST(FaultDeathTest, ReadsTheFileThatItIsGiven) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const test::TempDir temp;
  const auto path = temp.path() + "/faults";
  const auto from_file = "@" + path;

  EXPECT_EXIT(pass_with(from_file.c_str(), "write", 3), testing::ExitedWithCode(0), "");
  std::ofstream(path) << "write:ENOSPC:2\n";
  EXPECT_EXIT(pass_with(from_file.c_str(), "write", 3), testing::ExitedWithCode(2), "injected");
}

// In a process of its own: the file comes and changes while it runs.
[[noreturn]] void change_faults(const std::string& path) {
  ::setenv("RUNNEL_FAULT", ("@" + path).c_str(), 1);
  int errors = fault("write");
  std::ofstream(path + ".new") << "write:EIO";
  std::filesystem::rename(path + ".new", path);
  errors += fault("write") == EIO ? 1 : 0;
  std::filesystem::remove(path);
  errors += fault("write");
  ::_exit(errors);
}

TEST(FaultDeathTest, LooksAtItsFileAgain) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const test::TempDir temp;

  EXPECT_EXIT(change_faults(temp.path() + "/faults"), testing::ExitedWithCode(1), "injected");
}

TEST(FaultDeathTest, RemovesItsFileBeforeItKills) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const test::TempDir temp;
  // The process that dies runs this test again from its start: it must not make a path of its own.
  constexpr const char* kPath = "RUNNEL_TEST_FAULT_PATH";
  const char* given = std::getenv(kPath);
  const std::string path = given != nullptr ? given : temp.path() + "/faults";
  if (given == nullptr) std::ofstream(path) << "mid-fetch:kill";
  ::setenv(kPath, path.c_str(), 1);

  EXPECT_EXIT(pass_with(("@" + path).c_str(), "mid-fetch", 1), testing::KilledBySignal(SIGKILL),
              "");
  ::unsetenv(kPath);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(FaultDeathTest, EndsTheProcessForWhatItDoesNotUnderstand) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");

  EXPECT_EXIT(pass_with("write:EVIL", "bits", 1), testing::ExitedWithCode(2), "no action");
}

TEST(Fault, UnderstandsItsList) {
  const auto faults = parse_faults("between-sync-and-bitmap:kill:7,fdatasync:EIO");

  ASSERT_TRUE(faults);
  EXPECT_EQ(*faults,
            (std::vector<Fault>{{"between-sync-and-bitmap", 0, 7}, {"fdatasync", EIO, 1}}));
}

TEST(Fault, RefusesWhatWouldInjectNothing) {
  for (const auto* text : {"", "write", "write:", "nowhere:kill", "write:kill:0", "write:kill:x",
                           "mid-fetch:EIO", "write:EIO,"}) {
    EXPECT_FALSE(parse_faults(text)) << text;
  }
}

}  // namespace
}  // namespace runnel::cache
