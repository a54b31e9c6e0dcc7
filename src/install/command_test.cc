#include "install/command.h"

#include <gtest/gtest.h>

#include <chrono>

namespace runnel::install {

using std::chrono::seconds;

TEST(InstallCommand, GivesWhatTheProgramPrinted) {
  EXPECT_EQ(run_command({"echo", "a b"}, seconds(30)), "a b\n");
}

TEST(InstallCommand, SaysWhatAFailedProgramSaid) {
  const auto failed = run_shell("echo why >&2; exit 3", seconds(30));

  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("why"), std::string::npos);
}

TEST(InstallCommand, SaysThatAProgramIsNotThere) {
  const auto failed = run_command({"/nowhere/program"}, seconds(30));

  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("installed"), std::string::npos);
}

TEST(InstallCommand, EndsWhatIsNotDoneInTimeWithAllThatItStarted) {
  const auto failed = run_shell("sleep 600 & sleep 600", std::chrono::milliseconds(200));

  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("in time"), std::string::npos);
}

TEST(InstallCommand, EndsAlsoWhatHasClosedItsOutput) {
  const auto failed = run_shell("exec >&- 2>&-; sleep 600", std::chrono::milliseconds(200));

  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("in time"), std::string::npos);
}

TEST(InstallCommand, DoesNotWaitForADaemonThatTheProgramLeft) {
  const auto started = std::chrono::steady_clock::now();

  const auto done = run_shell("setsid sleep 5 & echo started", seconds(60));

  EXPECT_EQ(done, "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - started, seconds(4));
}

}  // namespace runnel::install
