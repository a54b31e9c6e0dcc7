#include "install/text_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::install {

namespace {

class TextFile : public testing::Test {
 protected:
  const test::TempDir directory_;
  const std::string path_ = directory_.path() + "/hosts.toml";
};

}  // namespace

TEST_F(TextFile, IsWrittenWithItsModeAndReadBack) {
  const auto deep = directory_.path() + "/a/b/file";
  ASSERT_TRUE(write_text(deep, "text", {.mode = 0640, .uid = ::getuid(), .gid = ::getgid()}));

  EXPECT_EQ(*read_if_there(deep), "text");
  EXPECT_EQ(*read_if_there(path_), std::nullopt);
  struct stat info;
  ASSERT_EQ(::stat(deep.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
}

TEST_F(TextFile, IsSavedForItsOwnerAlone) {
  EXPECT_EQ(*save_beside(path_, "mine"), path_ + ".runnel-saved");

  EXPECT_EQ(*read_if_there(path_ + ".runnel-saved"), "mine");
  struct stat info;
  ASSERT_EQ(::stat((path_ + ".runnel-saved").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(TextFile, IsSavedUnderANameThatIsFree) {
  ASSERT_TRUE(save_beside(path_, "first"));
  ASSERT_EQ(::symlink("nowhere", (path_ + ".runnel-saved.1").c_str()), 0);

  EXPECT_EQ(*save_beside(path_, "second"), path_ + ".runnel-saved.2");

  EXPECT_EQ(*read_if_there(path_ + ".runnel-saved"), "first");
  EXPECT_EQ(*read_if_there(path_ + ".runnel-saved.2"), "second");
}

TEST_F(TextFile, IsSavedOnceWhenItIsTheSame) {
  ASSERT_TRUE(save_beside(path_, "first"));
  ASSERT_TRUE(save_beside(path_, "second"));

  EXPECT_EQ(*save_beside(path_, "first"), path_ + ".runnel-saved");
  EXPECT_EQ(*save_beside(path_, "second"), path_ + ".runnel-saved.1");
}

TEST_F(TextFile, IsKnownByTheNameItIsSavedUnder) {
  EXPECT_TRUE(is_saved_name("hosts.toml.runnel-saved"));
  EXPECT_TRUE(is_saved_name("hosts.toml.runnel-saved.12"));
  EXPECT_FALSE(is_saved_name("hosts.toml"));
  EXPECT_FALSE(is_saved_name("ca.crt"));
  EXPECT_FALSE(is_saved_name("hosts.toml.runnel-savedly"));
}

}  // namespace runnel::install
