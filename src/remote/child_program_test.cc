#include "remote/child_program.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

namespace runnel::remote {
namespace {

TEST(ChildProgram, EndsByABrokenPipeThoughWeDoNot) {
  auto* const before = ::signal(SIGPIPE, SIG_IGN);

  const auto outcome = run_program({.program = "/bin/sh",
                                    .arguments = {"-c", "kill -PIPE $$; echo ignored"},
                                    .environment = {},
                                    .question = {}},
                                   {});

  ::signal(SIGPIPE, before);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "");
  ASSERT_TRUE(WIFSIGNALED(outcome->status));
  EXPECT_EQ(WTERMSIG(outcome->status), SIGPIPE);
}

}  // namespace
}  // namespace runnel::remote
