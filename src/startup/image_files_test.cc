#include "startup/image_files.h"

#include <gtest/gtest.h>

#include <tuple>

#include "support/sample_image.h"

namespace runnel::startup {
namespace {

std::string found(const ImageFiles& files, std::string_view path, std::string_view base = "/") {
  const auto result = files.find(path, base);
  return result ? result->path : "nothing";
}

TEST(ImageFiles, FollowsLinksAsAChrootDoes) {
  test::SampleImage image;
  image.file("/usr/bin/python3.11")
      .link("/usr/bin/python3", "python3.11")
      .link("/bin", "usr/bin")
      .link("/etc/alternatives/python", "/usr/bin/../bin/python3")
      .link("/up", "../../../bin/python3");
  const auto files = image.files();

  EXPECT_EQ(found(files, "/bin/python3"), "/usr/bin/python3.11");
  EXPECT_EQ(found(files, "/etc/alternatives/python"), "/usr/bin/python3.11");
  EXPECT_EQ(found(files, "/up"), "/usr/bin/python3.11");
  EXPECT_EQ(found(files, "python3", "/bin"), "/usr/bin/python3.11");
  EXPECT_EQ(found(files, "./../bin//python3", "/usr"), "/usr/bin/python3.11");
  EXPECT_EQ(found(files, "/"), "/");
  EXPECT_EQ(found(files, "/usr/bin/python3/x"), "nothing");
  EXPECT_EQ(found(files, "/usr/lib"), "nothing");
}

TEST(ImageFiles, TellsFilesFromDirectories) {
  test::SampleImage image;
  image.file("/a/b");
  const auto files = image.files();

  EXPECT_TRUE(files.find_file("/a/b"));
  EXPECT_FALSE(files.find_file("/a"));
  EXPECT_TRUE(files.find_directory("/a"));
  EXPECT_FALSE(files.find_directory("/a/b"));
  EXPECT_EQ(files.names(files.find("/a")->inode), std::vector<std::string>{"b"});
}

TEST(ImageFiles, GivesUpOnLinksWithoutEnd) {
  test::SampleImage image;
  image.link("/a", "/b")
      .link("/b", "/a")
      .link("/long", std::string(4095, 'x'))
      .link("/deep", "deep/deep");
  const auto files = image.files();

  EXPECT_FALSE(files.find("/a"));
  EXPECT_FALSE(files.find("/deep"));
  EXPECT_FALSE(files.find("/long"));
  EXPECT_FALSE(files.find(std::string(5000, 'a')));
}

TEST(ImageFiles, FindsNothingMoreAfterItsMostLookUps) {
  test::SampleImage image;
  image.file("/a");
  const auto files = image.files();

  for (uint64_t i = 1; i < ImageFiles::kMaxFinds; ++i) std::ignore = files.find("b");
  EXPECT_TRUE(files.find("/a"));
  EXPECT_FALSE(files.find("/a"));
}

TEST(ImageFiles, ReadsWithinTheFileAndItsBudget) {
  test::SampleImage image;
  image.file("/a", "0123456789");
  auto files = image.files(12);
  const auto inode = files.find("/a")->inode;

  EXPECT_EQ(as_text(files.read(inode, 4, 100).value()), "456789");
  EXPECT_TRUE(files.read(inode, 10, 1).value().empty());
  EXPECT_TRUE(files.read(inode, 0, 7).value().empty()) << "six bytes are left";
  EXPECT_EQ(as_text(files.read(inode, 0, 6).value()), "012345");
}

}  // namespace
}  // namespace runnel::startup
