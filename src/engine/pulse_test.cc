#include "engine/pulse.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace runnel::engine {
namespace {

TEST(Pulse, IsSeenAcrossProcesses) {
  auto pulse = Pulse::create();
  ASSERT_TRUE(pulse);
  const auto before = pulse->signs();
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Pulse::inherited();
    if (own) {
      own->beat();
      own->beat();
      own->breathe();
    }
    ::_exit(own ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);

  EXPECT_EQ(status, 0);
  EXPECT_EQ(pulse->signs().beats, before.beats + 2);
  EXPECT_EQ(pulse->signs().breaths, before.breaths + 1);
}

TEST(Breathing, BreathesAtOnceAndAgainWithoutServing) {
  auto pulse = Pulse::create();
  ASSERT_TRUE(pulse);
  auto own = Pulse::inherited();
  ASSERT_TRUE(own);

  const auto before = pulse->signs();
  const Breathing breathing(*std::move(own));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (pulse->signs().breaths < before.breaths + 2 && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }

  EXPECT_GE(pulse->signs().breaths, before.breaths + 2);
  EXPECT_EQ(pulse->signs().beats, before.beats);
}

}  // namespace
}  // namespace runnel::engine
