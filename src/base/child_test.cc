#include "base/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace runnel {
namespace {

// A process of its own group that ends with this code, or waits for ever.
pid_t start(int code) {
  const pid_t pid = ::fork();
  if (pid != 0) {
    ::setpgid(pid, pid);
    return pid;
  }
  while (code < 0) ::pause();
  ::_exit(code);
}

bool is_there(pid_t pid) {
  return ::kill(pid, 0) == 0;
}

TEST(Child, SaysHowItEnded) {
  Child child(start(3), Child::Reach::kItself);

  const int status = child.wait();

  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST(Child, IsKilledAndReapedWhenItGoes) {
  const pid_t pid = start(-1);
  {
    const Child child(pid, Child::Reach::kItself);
  }

  EXPECT_FALSE(is_there(pid));
}

TEST(Child, TakesItsGroupAlongWhenItIsEnded) {
  const pid_t leader = start(-1);
  const pid_t member = start(-1);
  ASSERT_EQ(::setpgid(member, leader), 0);
  Child child(leader, Child::Reach::kGroup);

  EXPECT_EQ(WTERMSIG(child.end()), SIGKILL);

  int status = 0;
  ASSERT_EQ(::waitpid(member, &status, 0), member);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

}  // namespace
}  // namespace runnel
