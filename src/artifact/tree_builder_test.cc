#include "artifact/tree_builder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

namespace runnel::artifact {
namespace {

using tar::EntryType;

tar::Entry entry(const std::string& name, EntryType type, uint32_t mode = 0644) {
  tar::Entry out;
  out.name = name;
  out.type = type;
  out.mode = mode;
  out.mtime_s = 1000;
  return out;
}
tar::Entry file(const std::string& name) {
  return entry(name, EntryType::kRegular);
}
tar::Entry directory(const std::string& name, uint32_t mode = 0755) {
  return entry(name, EntryType::kDirectory, mode);
}
tar::Entry link(const std::string& name, const std::string& target, EntryType type) {
  auto out = entry(name, type);
  out.link_name = target;
  return out;
}
tar::Entry symlink(const std::string& name, const std::string& target) {
  return link(name, target, EntryType::kSymlink);
}
tar::Entry hard_link(const std::string& name, const std::string& target) {
  return link(name, target, EntryType::kHardLink);
}

class TreeBuilderTest : public testing::Test {
 protected:
  void add(std::initializer_list<tar::Entry> entries) {
    for (const auto& each : entries) {
      const auto added = builder_.add(each);
      ASSERT_TRUE(added) << added.error().message;
    }
  }
  void finish() {
    auto tree = builder_.finish();
    ASSERT_TRUE(tree) << tree.error().message;
    tree_ = *std::move(tree);
  }
  // The inode number at "a/b"; nothing when it is absent, kWhiteout for a whiteout.
  std::optional<uint32_t> at(std::string_view path) const {
    uint32_t inode = 0;
    while (!path.empty()) {
      const auto part = path.substr(0, path.find('/'));
      path.remove_prefix(std::min(path.size(), part.size() + 1));
      const auto& entries = tree_.inodes[inode].entries;
      const auto found = std::ranges::find(entries, part, &erofs::DirEntry::name);
      if (found == entries.end()) return std::nullopt;
      inode = found->inode;
    }
    return inode;
  }
  const erofs::Inode& inode(std::string_view path) const { return tree_.inodes[at(path).value()]; }

  TreeBuilder builder_;
  LayerTree tree_;
};

TEST_F(TreeBuilderTest, MakesParentsThatNoEntryNamesAndSaysSo) {
  add({file("./a/b/c"), directory("a")});
  finish();

  EXPECT_EQ(inode("a/b/c").mode, S_IFREG | 0644);
  EXPECT_EQ(tree_.flags[*at("a/b")], kImplied);
  EXPECT_EQ(inode("a/b").mode, S_IFDIR | 0755);
  EXPECT_EQ(tree_.flags[*at("a")], 0);
}

TEST_F(TreeBuilderTest, IgnoresTheRootsOwnEntry) {
  auto root = directory("./", 0700);
  root.uid = 9;
  add({root});
  finish();

  EXPECT_EQ(tree_.inodes[0].mode, S_IFDIR | 0755);
  EXPECT_EQ(tree_.inodes[0].uid, 0u);
}

TEST_F(TreeBuilderTest, LetsALaterEntryReplaceAnEarlierOneButMergesDirectories) {
  add({directory("x"), file("x/kept"), directory("x", 0700), directory("y"), file("y/lost"),
       file("y"), file("z"), directory("z")});
  finish();

  EXPECT_TRUE(at("x/kept"));
  EXPECT_EQ(inode("x").mode, S_IFDIR | 0700);
  EXPECT_TRUE(S_ISREG(inode("y").mode));
  EXPECT_TRUE(S_ISDIR(inode("z").mode));
}

TEST_F(TreeBuilderTest, ResolvesNamesThroughLinksOfTheSameLayer) {
  add({symlink("lib", "usr/lib"), file("lib/libc"), symlink("up", "../../etc"), file("up/passwd")});
  finish();

  EXPECT_TRUE(at("usr/lib/libc"));
  EXPECT_TRUE(S_ISLNK(inode("lib").mode));
  EXPECT_TRUE(at("etc/passwd"));
}

TEST_F(TreeBuilderTest, MakesAHardLinkOneInodeWithTheLastEntrysAttributes) {
  auto second = hard_link("b", "a");
  second.mode = 0600;
  second.uid = 7;
  add({file("a"), second});
  finish();

  EXPECT_EQ(at("a"), at("b"));
  EXPECT_EQ(inode("a").mode, S_IFREG | 0600);
  EXPECT_EQ(inode("a").uid, 7u);
}

TEST_F(TreeBuilderTest, SaysThatAHardLinkCannotReachALowerLayer) {
  const auto added = builder_.add(hard_link("b", "a"));

  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::kInvalid);
  EXPECT_NE(added.error().message.find("the ordinary pull fails too"), std::string::npos);
}

TEST_F(TreeBuilderTest, TurnsWhiteoutsIntoWhiteouts) {
  auto device = entry("dev", EntryType::kCharDevice);
  add({file(".wh.gone"), file("d/.wh..wh..opq"), file("d/new"), device, file(".wh.back"),
       file("back")});
  finish();

  EXPECT_EQ(at("gone"), kWhiteout);
  EXPECT_EQ(at("dev"), kWhiteout);
  EXPECT_EQ(tree_.flags[*at("d")], kOpaque | kImplied);
  EXPECT_TRUE(S_ISREG(inode("back").mode));
}

TEST_F(TreeBuilderTest, RefusesWhatWouldLeaveTheImageOrFailToUnpack) {
  for (const auto& bad : {file("/etc/passwd"), file("../x"), file("a/../../x"),
                          file(std::string(256, 'n')), file(".wh."), file(".wh..."),
                          hard_link("x", "y"), symlink("s", ""), entry("odd", EntryType::kOther)}) {
    EXPECT_FALSE(TreeBuilder().add(bad)) << bad.name;
  }
  add({file("file")});
  EXPECT_FALSE(builder_.add(file("file/below")));
  EXPECT_FALSE(builder_.add(file(".wh.file")));
}

TEST_F(TreeBuilderTest, TidiesNamesThatStayInside) {
  add({file("a/./b//../c"), file("d/../e")});
  finish();

  EXPECT_TRUE(at("a/c"));
  EXPECT_TRUE(at("e"));
  EXPECT_FALSE(at("a/b"));
}

TEST_F(TreeBuilderTest, RefusesAnOpaqueMarkerBehindImpliedDirectories) {
  add({directory("d"), file("d/implied/file")});

  EXPECT_FALSE(builder_.add(file("d/.wh..wh..opq")));
}

TEST_F(TreeBuilderTest, KeepsOnlyXattrsThatAnUnpackWouldSet) {
  auto with = file("f");
  with.xattrs = {{"user.a", Buffer(1)},
                 {"security.capability", Buffer(20)},
                 {"trusted.overlay.opaque", Buffer(1)},
                 {"odd.name", Buffer(1)}};
  auto on_link = symlink("s", "f");
  on_link.xattrs = {{"user.a", Buffer(1)}};
  add({with, on_link});
  finish();

  EXPECT_EQ(inode("f").xattrs.size(), 2u);
  EXPECT_TRUE(inode("s").xattrs.empty());
}

TEST_F(TreeBuilderTest, DropsTheCapabilitiesOfAFileThatAHardLinkEntryOwnsAgain) {
  auto with = file("f");
  with.xattrs = {{"security.capability", Buffer(20)}};
  add({with, hard_link("g", "f")});
  finish();

  EXPECT_TRUE(inode("f").xattrs.empty());
}

TEST_F(TreeBuilderTest, BoundsTimesAndSetsThoseOfDirectoriesLast) {
  auto early = file("early");
  early.mtime_s = -1;
  early.mtime_ns = 5;
  auto late = directory("late");
  late.mtime_s = 9'223'372'037;
  auto twice = directory("twice");
  twice.mtime_s = 2;
  add({early, late, directory("twice"), twice});
  finish();

  EXPECT_EQ(inode("early").mtime_s, 0);
  EXPECT_EQ(inode("early").mtime_ns, 0u);
  EXPECT_EQ(inode("late").mtime_s, 0);
  EXPECT_EQ(inode("twice").mtime_s, 2);
}

TEST_F(TreeBuilderTest, GivesChildrenTheDefaultAclOfTheirDirectory) {
  ByteWriter acl;
  acl.u32(2);
  for (const auto& [tag, permissions] :
       std::vector<std::pair<uint16_t, uint16_t>>{{1, 7}, {2, 6}, {4, 5}, {16, 7}, {32, 0}}) {
    acl.u16(tag);
    acl.u16(permissions);
    acl.u32(tag == 2 ? 1000 : UINT32_MAX);
  }
  auto parent = directory("d");
  parent.xattrs = {{"system.posix_acl_default", acl.take()}};
  add({parent, file("d/f"), directory("d/sub"), symlink("d/s", "f")});
  finish();

  EXPECT_EQ(inode("d/f").xattrs.size(), 1u);
  EXPECT_EQ(inode("d/f").xattrs[0].first, "system.posix_acl_access");
  EXPECT_EQ(inode("d/sub").xattrs.size(), 2u);
  EXPECT_TRUE(inode("d/s").xattrs.empty());
}

TEST_F(TreeBuilderTest, AcceptsAnOpaqueMarkerOnceTheImpliedDirectoriesAreNamedOrGone) {
  add({file("a/b/file"), directory("a/b"), file("a/c/file"), file("a/c"), file("a/.wh..wh..opq")});
  finish();

  EXPECT_TRUE(at("a/b/file"));
  EXPECT_NE(tree_.flags[*at("a")] & kOpaque, 0);
}

// containerd refuses both; they lose nothing, and old GNU tar writes sparse files as 'S'.
TEST_F(TreeBuilderTest, TakesContiguousAndOldSparseFilesAsRegular) {
  for (const char type : {'7', 'S'}) {
    auto each = file(std::string("f") + type);
    each.type_flag = type;
    EXPECT_TRUE(builder_.add(each)) << type;
  }
}

TEST_F(TreeBuilderTest, RefusesAPathThatLinksMakeEndless) {
  std::string there_and_back;
  for (int i = 0; i < 800; ++i) there_and_back += "d/../";
  add({directory("d")});
  for (int i = 0; i < 30; ++i) {
    add({symlink("l" + std::to_string(i), there_and_back + "l" + std::to_string(i + 1))});
  }

  const auto added = builder_.add(file("l0/file"));

  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::kInvalid);
}

TEST_F(TreeBuilderTest, RefusesWhatNoKernelAndNoReaderWouldTake) {
  auto nobody = file("f");
  nobody.uid = UINT32_MAX;
  EXPECT_FALSE(builder_.add(nobody));

  auto enormous = file("f");
  enormous.size = erofs::kMaxFileSize + 1;
  EXPECT_EQ(builder_.add(enormous).error().code, Code::kUnsupported);

  auto decorated = file("f");
  for (int i = 0; i <= 1024; ++i) {
    decorated.xattrs.emplace_back("user." + std::to_string(i), Buffer(1));
  }
  EXPECT_EQ(builder_.add(decorated).error().code, Code::kUnsupported);

  std::string deep;
  for (int i = 0; i < 1025; ++i) deep += "d/";
  EXPECT_EQ(builder_.add(file(deep + "f")).error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace runnel::artifact
