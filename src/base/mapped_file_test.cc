#include "base/mapped_file.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel {
namespace {

TEST(MappedFile, ShowsTheFileAsItIs) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";
  ASSERT_TRUE(replace_file(path, as_bytes("some bytes")));

  const auto mapped = MappedFile::open(path, 100);

  ASSERT_TRUE(mapped);
  EXPECT_EQ(as_text((*mapped)->bytes()), "some bytes");
  (*mapped)->let_go();
  EXPECT_EQ(as_text((*mapped)->bytes()), "some bytes");
}

TEST(MappedFile, MapsAnEmptyFileAndRefusesALargeOne) {
  const test::TempDir dir;
  const auto path = dir.path() + "/file";
  ASSERT_TRUE(replace_file(path, {}));
  EXPECT_TRUE(MappedFile::open(path, 0).value()->bytes().empty());

  ASSERT_TRUE(replace_file(path, as_bytes("12")));
  EXPECT_EQ(MappedFile::open(path, 1).error().code, Code::kExhausted);
  EXPECT_EQ(MappedFile::open(dir.path() + "/none", 1).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace runnel
