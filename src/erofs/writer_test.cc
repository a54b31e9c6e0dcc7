#include "erofs/writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>

#include "erofs/format.h"
#include "erofs/reader.h"
#include "erofs/sample_trees.h"
#include "erofs/validator.h"

namespace runnel::erofs {
namespace {

using test::add;
using test::directory;
using test::empty_tree;
using test::file;

// The error of writing an empty tree that `spoil` has changed.
Error error_of(const std::function<void(Tree&)>& spoil) {
  Tree tree = empty_tree();
  spoil(tree);
  const auto image = write_image(tree);
  return image ? Error(Code::kExists, "it was written") : image.error();
}

TEST(Writer, GivesTheSameBytesForTheSameTreeInWhateverOrder) {
  Tree tree = test::rich_tree();
  const Buffer image = write_image(tree).value();

  for (Inode& inode : tree.inodes) {
    std::ranges::reverse(inode.entries);
    std::ranges::reverse(inode.xattrs);
  }

  EXPECT_EQ(write_image(tree).value(), image);
}

TEST(Writer, StoresUuidAndBuildTime) {
  WriteOptions options{.build_time = 1'600'000'000};
  options.uuid[3] = std::byte{7};

  const Buffer image = write_image(empty_tree(), options).value();

  const Superblock superblock = Reader::open(image)->superblock();
  EXPECT_EQ(superblock.uuid, options.uuid);
  EXPECT_EQ(superblock.build_time, options.build_time);
}

TEST(Writer, RefusesAnImageOfMoreBytesThanItMay) {
  const Tree tree = test::rich_tree();
  const uint64_t size = image_size(tree).value();

  EXPECT_TRUE(write_image(tree, {.max_bytes = size}));
  EXPECT_EQ(write_image(tree, {.max_bytes = size - 1}).error().code, Code::kExhausted);
}

TEST(Writer, LeavesOutWhatNoEntryReaches) {
  Tree tree = empty_tree();
  add(tree, 0, "kept", file(0));
  tree.inodes.push_back(file(0));

  EXPECT_EQ(validate(write_image(tree).value())->inodes, 2u);
}

TEST(Writer, KeepsALinkCountThatTheTreeGives) {
  Tree tree = empty_tree();
  Inode linked = file(0);
  linked.nlink = 5;
  add(tree, 0, "f", linked);

  const Buffer image = write_image(tree).value();

  const auto reader = Reader::open(image).value();
  EXPECT_EQ(reader.resolve("f", false)->disk.nlink, 5u);
}

TEST(Writer, SharesXattrsThatManyFilesHave) {
  Tree tree = empty_tree();
  for (int i = 0; i < 1000; ++i) {
    Inode labelled = file(0);
    labelled.xattrs = {{"security.selinux", Buffer(100, std::byte{'l'})}};
    add(tree, 0, std::to_string(i), labelled);
  }

  EXPECT_LT(image_size(tree).value(), 1000 * (64 + 12 + 4 + 16 + 24) + 10'000);
}

TEST(Writer, WastesLittleRoom) {
  Tree tree = empty_tree();
  uint64_t needed = 0;
  for (uint64_t d = 0; d < 300; ++d) {
    const uint32_t parent = add(tree, 0, "directory" + std::to_string(d), directory());
    needed += 64 + 60;
    for (uint64_t f = 0; f < d % 60; ++f) {
      add(tree, parent, "some-file-" + std::to_string(f), file(1, {{0, 0, 1, 1}}));
      needed += 96 + 12 + 12;
    }
  }

  EXPECT_LT(image_size(tree).value(), needed + needed / 10);
}

TEST(Writer, RefusesTreesThatAreNotTrees) {
  EXPECT_EQ(write_image({}).error().code, Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) { t.inodes[0] = file(0); }).code, Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) { test::link(t, 0, "self", 0); }).code, Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) { test::link(t, 0, "nothing", 7); }).code, Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) {
              const uint32_t a = add(t, 0, "a", directory());
              const uint32_t b = add(t, a, "b", directory());
              test::link(t, b, "up", a);
            }).code,
            Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) {
              add(t, 0, "f", file(0));
              add(t, 0, "f", file(0));
            }).code,
            Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) {
              uint32_t at = 0;
              for (size_t i = 0; i <= kMaxDepth; ++i) at = add(t, at, "d", directory());
            }).code,
            Code::kUnsupported);
}

TEST(Writer, RefusesNamesThatNoFileCanHave) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"),
        std::string("a\0b", 3), std::string(256, 'n')}) {
    EXPECT_EQ(error_of([&](Tree& t) { add(t, 0, name, file(0)); }).code, Code::kInvalid);
  }
}

TEST(Writer, RefusesInodesThatContradictThemselves) {
  const auto error_with = [](const std::function<void(Inode&)>& spoil, Inode inode = file(0)) {
    spoil(inode);
    return error_of([&](Tree& t) { add(t, 0, "f", inode); }).code;
  };

  EXPECT_EQ(error_with([](Inode& i) { i.mode = 0644; }), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode& i) { i.mtime_ns = 1'000'000'000; }), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode& i) { i.entries = {{"x", 0}}; }), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode& i) { i.extents = {{0, 0, 1, 1}}; }, directory()), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode&) {}, test::symlink("")), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode&) {}, test::symlink(std::string(4096, 'l'))), Code::kInvalid);
  EXPECT_EQ(error_with([](Inode& i) { i.size = kMaxFileSize + 1; }), Code::kUnsupported);
}

TEST(Writer, RefusesXattrsThatErofsCannotHold) {
  const auto error_with = [](std::vector<std::pair<std::string, Buffer>> xattrs) {
    Inode inode = file(0);
    inode.xattrs = std::move(xattrs);
    return error_of([&](Tree& t) { add(t, 0, "f", inode); }).code;
  };

  EXPECT_EQ(error_with({{"system.nfs4_acl", {}}}), Code::kUnsupported);
  EXPECT_EQ(error_with({{"user.", {}}}), Code::kUnsupported);
  EXPECT_EQ(error_with({{"user." + std::string(251, 'n'), {}}}), Code::kInvalid);
  EXPECT_EQ(error_with({{"user.a", Buffer(65536)}}), Code::kUnsupported);
  EXPECT_EQ(error_with({{"user.a", {}}, {"user.a", {}}}), Code::kInvalid);
  EXPECT_EQ(error_with({{"system.posix_acl_access", Buffer(9)}}), Code::kInvalid);
  std::vector<std::pair<std::string, Buffer>> many;
  for (int i = 0; i < 5; ++i) many.emplace_back("user." + std::to_string(i), Buffer(60000));
  EXPECT_EQ(error_with(many), Code::kUnsupported);
}

TEST(Writer, NamesThePathInItsErrors) {
  const Error error = error_of([](Tree& t) {
    const uint32_t etc = add(t, 0, "etc", directory());
    add(t, etc, "bad\n", file(4096, {{0, 5000, 1, 1}}));
  });

  EXPECT_NE(error.message.find("\"/etc/bad\\x0a\""), std::string::npos) << error.message;
}

TEST(Writer, RefusesDevicesThatTheFormatCannotHold) {
  EXPECT_EQ(error_of([](Tree& t) { t.devices[0].blocks = kMaxDeviceBlocks + 1; }).code,
            Code::kUnsupported);
  EXPECT_EQ(error_of([](Tree& t) { t.devices[0].tag = std::string(65, 't'); }).code,
            Code::kInvalid);
  EXPECT_EQ(error_of([](Tree& t) { t.devices.resize(kMaxDevices + 1); }).code, Code::kUnsupported);
}

TEST(Writer, PutsTheRootInReachBehindTheLargestDeviceTable) {
  Tree tree = empty_tree();
  tree.devices.resize(kMaxDevices, {10, "d"});
  add(tree, 0, "f", file(4096, {{0, 9, 1, kMaxDevices}}));

  const Buffer image = write_image(tree).value();

  EXPECT_EQ(validate(image)->devices.size(), kMaxDevices);
}

}  // namespace
}  // namespace runnel::erofs
