#include "cache/page_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kHole = 1 << 20;

// Locked pages stay in memory, whatever else happens on the machine.
class PageCache : public testing::Test {
 protected:
  void SetUp() override {
    const Buffer content(kSize, std::byte{7});
    ASSERT_TRUE(write_all_at(fd_.get(), content, 0));
    ASSERT_EQ(::ftruncate(fd_.get(), kSize + kHole), 0);
    memory_ = ::mmap(nullptr, kSize, PROT_READ, MAP_SHARED | MAP_POPULATE, fd_.get(), 0);
    ASSERT_NE(memory_, MAP_FAILED);
    ASSERT_EQ(::mlock(memory_, kSize), 0);
  }
  void TearDown() override { ::munmap(memory_, kSize); }

  const test::TempDir directory_;
  const UniqueFd fd_ = open_file(directory_.path() + "/file", O_RDWR | O_CREAT, 0600).value();
  void* memory_ = nullptr;
};

TEST_F(PageCache, HasWhatWasWrittenAndNotTheHoleBehindIt) {
  EXPECT_EQ(page_cache_bytes(fd_.get(), kSize + kHole).value(), kSize);
}

TEST_F(PageCache, IsTheSameByMincore) {
  EXPECT_EQ(page_cache_bytes_by_mincore(fd_.get(), kSize + kHole).value(), kSize);
}

TEST_F(PageCache, IsAskedAboutTheSizeAlone) {
  EXPECT_EQ(page_cache_bytes(fd_.get(), kSize / 2).value(), kSize / 2);
  EXPECT_EQ(page_cache_bytes(fd_.get(), 0).value(), 0);
  EXPECT_EQ(page_cache_bytes_by_mincore(fd_.get(), 0).value(), 0);
}

TEST_F(PageCache, SaysThatADescriptorIsBad) {
  EXPECT_FALSE(page_cache_bytes(-1, kSize));
}

}  // namespace
}  // namespace runnel::cache
