#include "cache/fault.h"

#include <gtest/gtest.h>

#include <cstdlib>
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
