#include "cache/fault.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

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

// The file that both the test and the processes that die in it see. Such a process runs its test
// again from the start and ends without a destructor: it must make no directory of its own.
class FaultFile {
 public:
  FaultFile() {
    if (const char* given = std::getenv(kVariable)) {
      path_ = given;
      return;
    }
    path_ = temp_.emplace().path() + "/faults";
    ::setenv(kVariable, path_.c_str(), 1);
  }
  ~FaultFile() { ::unsetenv(kVariable); }
  FaultFile(const FaultFile&) = delete;
  FaultFile& operator=(const FaultFile&) = delete;

  const std::string& path() const { return path_; }
  bool is_the_tests() const { return temp_.has_value(); }

 private:
  static constexpr const char* kVariable = "RUNNEL_TEST_FAULT_FILE";
  std::optional<test::TempDir> temp_;
  std::string path_;
};

TEST(FaultDeathTest, ReadsTheFileThatItIsGiven) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const FaultFile file;
  const auto& path = file.path();
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
  const FaultFile file;

  EXPECT_EXIT(change_faults(file.path()), testing::ExitedWithCode(1), "injected");
}

TEST(FaultDeathTest, RemovesItsFileBeforeItKills) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const FaultFile file;
  if (file.is_the_tests()) std::ofstream(file.path()) << "mid-fetch:kill";

  EXPECT_EXIT(pass_with(("@" + file.path()).c_str(), "mid-fetch", 1),
              testing::KilledBySignal(SIGKILL), "");
  EXPECT_FALSE(std::filesystem::exists(file.path()));
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
