#include "base/memory_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/fd.h"

namespace runnel {
namespace {

constexpr const char* kVariable = "RUNNEL_TEST_MEMORY";

class MemoryFile : public testing::Test {
 protected:
  MemoryFile() { ::unsetenv(kVariable); }
  ~MemoryFile() override { ::unsetenv(kVariable); }
};

TEST_F(MemoryFile, IsMadeOnceAndFoundAgain) {
  const UniqueFd first(keep_memory_file(kVariable, "runnel-test", 100).value());
  ASSERT_EQ(::pwrite(first.get(), "kept", 4, 0), 4);

  EXPECT_EQ(keep_memory_file(kVariable, "runnel-test", 100), first.get());

  EXPECT_EQ(std::getenv(kVariable), std::to_string(first.get()));
  struct stat about{};
  ASSERT_EQ(::fstat(first.get(), &about), 0);
  EXPECT_EQ(about.st_size, 100);
}

TEST_F(MemoryFile, IsNotWhatAnybodyElseNames) {
  for (const char* other : {"0", "9999", "-1", "3x", ""}) {
    ::setenv(kVariable, other, 1);
    const UniqueFd made(keep_memory_file(kVariable, "runnel-test", 1).value());
    EXPECT_NE(std::to_string(made.get()), other);
  }
}

TEST_F(MemoryFile, IsNotOneOfAnotherNameOrOneThatIsTooShort) {
  const UniqueFd first(keep_memory_file(kVariable, "runnel-test", 1).value());

  const UniqueFd renamed(keep_memory_file(kVariable, "runnel-other", 1).value());
  EXPECT_NE(renamed.get(), first.get());
  const UniqueFd longer(keep_memory_file(kVariable, "runnel-other", 2).value());
  EXPECT_NE(longer.get(), renamed.get());
}

}  // namespace
}  // namespace runnel
