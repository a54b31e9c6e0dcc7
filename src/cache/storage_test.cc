#include "cache/storage.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace runnel::cache {
namespace {

// As with every offset of ours on a device whose blocks are larger than 4096 bytes.
TEST(CacheStorage, ReadsThroughTheKernelsMemoryWhatTheDeviceDoesNotGiveDirectly) {
  const test::TempDir directory;
  const auto file = directory_storage(directory.path())->open("device").value();
  Buffer bytes(16384);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i / 7);
  ASSERT_TRUE(file->write(bytes, 0));
  Buffer into(8192);

  const auto read = file->read_from_disk(into, 100);

  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(std::equal(into.begin(), into.end(), bytes.begin() + 100));
}

TEST(CacheStorage, SaysWhenAFileEndsBeforeWhatIsReadFromTheDisk) {
  const test::TempDir directory;
  const auto file = directory_storage(directory.path())->open("device").value();
  ASSERT_TRUE(file->write(Buffer(4096), 0));
  Buffer into(8192);

  EXPECT_EQ(file->read_from_disk(into, 0).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace runnel::cache
