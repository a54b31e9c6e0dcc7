#include "erofs/validator.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <random>

#include "erofs/format.h"
#include "erofs/reader.h"
#include "erofs/sample_trees.h"
#include "erofs/writer.h"

namespace runnel::erofs {
namespace {

void fix_checksum(Buffer& image) {
  store_le(image.data() + kSuperblockAt + 4, superblock_checksum(Bytes(image).first(kBlockSize)));
}

// A small image in which single fields can be found and spoiled.
class Specimen {
 public:
  explicit Specimen(const Tree& tree) : image_(write_image(tree).value()) {}
  Specimen() : Specimen(tree()) {}

  static Tree tree() {
    Tree tree = test::empty_tree();
    const uint32_t a = test::add(tree, 0, "a", test::directory());
    test::add(tree, a, "b", test::directory());
    test::add(tree, 0, "c", test::directory());
    test::add(tree, 0, "file", test::file(4 * kBlockSize, {{0, 8, 2, 1}, {3, 0, 1, 2}}));
    test::add(tree, 0, "link", test::symlink("target"));
    Inode with_xattrs = test::file(0);
    with_xattrs.xattrs = {{"user.x", test::bytes_of("value")}, {"user.y", test::bytes_of("v")}};
    test::add(tree, 0, "xattrs", with_xattrs);
    return tree;
  }

  uint64_t nid(std::string_view path) const {
    return Reader::open(image_)->resolve(path, false)->nid;
  }
  std::byte* inode(std::string_view path) { return image_.data() + nid(path) * kInodeSlotSize; }
  // Where a directory's entries start; they are inline in a specimen.
  std::byte* entries(std::string_view path) { return inode(path) + kInodeSize; }
  std::byte* superblock() { return image_.data() + kSuperblockAt; }
  Buffer& image() { return image_; }

  Error error() {
    fix_checksum(image_);
    const auto summary = validate(image_);
    return summary ? Error(Code::kExists, "it was accepted") : summary.error();
  }

 private:
  Buffer image_;
};

template <class Integer>
void set(std::byte* at, Integer value) {
  store_le(at, value);
}

// Root's entries in their order: . .. a c file link xattrs
constexpr int kEntryC = 3, kEntryFile = 4;
std::byte* entry(std::byte* entries, int index) {
  return entries + index * kDirentSize;
}

TEST(Validator, SumsUpWhatItAccepts) {
  const auto summary = validate(Specimen().image());

  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->inodes, 7u);
  EXPECT_EQ(summary->directories, 4u);
  EXPECT_EQ(summary->entries, 6u);
  EXPECT_EQ(summary->depth, 2u);
  EXPECT_EQ(summary->device_blocks_used, 3u);
  EXPECT_EQ(summary->devices, test::empty_tree().devices);
}

TEST(Validator, RefusesADirectoryWithTwoParents) {
  Specimen specimen;
  set(entry(specimen.entries("/"), kEntryC), specimen.nid("a"));

  EXPECT_NE(specimen.error().message.find("two parents"), std::string::npos);
}

TEST(Validator, RefusesACycle) {
  for (const char* target : {"/", "a"}) {
    Specimen specimen;
    const uint64_t nid = specimen.nid(target);
    set(entry(specimen.entries("a"), 2), nid);

    EXPECT_NE(specimen.error().message.find("two parents"), std::string::npos) << target;
  }
}

TEST(Validator, RefusesDotsThatLeadElsewhere) {
  for (const int dots : {0, 1}) {
    Specimen specimen;
    set(entry(specimen.entries("a/b"), dots), specimen.nid("c"));

    EXPECT_NE(specimen.error().message.find("leads to"), std::string::npos) << dots;
  }
}

TEST(Validator, RefusesAnEntryOfTheWrongType) {
  Specimen specimen;
  set<uint8_t>(entry(specimen.entries("/"), kEntryFile) + 10, 2);

  EXPECT_NE(specimen.error().message.find("has type"), std::string::npos);
}

TEST(Validator, RefusesNamesOutOfOrderTwiceOrImpossible) {
  const auto with_name_of_c = [](char c) {
    Specimen specimen;
    std::byte* entries = specimen.entries("/");
    entries[load_le<uint16_t>(entry(entries, kEntryC) + 8)] = static_cast<std::byte>(c);
    return specimen.error().message;
  };

  EXPECT_NE(with_name_of_c('z').find("out of order"), std::string::npos);
  EXPECT_NE(with_name_of_c('a').find("out of order"), std::string::npos);
  EXPECT_NE(with_name_of_c('/').find("no file can have"), std::string::npos);
  EXPECT_NE(with_name_of_c('\0').find("no file can have"), std::string::npos);
}

TEST(Validator, RefusesChunksOutsideTheirDevice) {
  const auto with_index = [](uint16_t device, uint32_t block) {
    Specimen specimen;
    std::byte* index = specimen.inode("file") + kInodeSize;
    set(index + 2, device);
    set(index + 4, block);
    return specimen.error().code;
  };

  EXPECT_EQ(with_index(1, 999), Code::kExists);
  EXPECT_EQ(with_index(1, 1000), Code::kInvalid);
  EXPECT_EQ(with_index(0, 0), Code::kInvalid);
  EXPECT_EQ(with_index(3, 0), Code::kInvalid);
  EXPECT_EQ(with_index(1, 0xfffffffe), Code::kInvalid);
  EXPECT_EQ(with_index(1, kHole), Code::kInvalid) << "a hole has no device";
}

TEST(Validator, RefusesInodesThatNoWriterOfOursMakes) {
  const auto with = [](const char* path, uint64_t offset, auto value) {
    Specimen specimen;
    set(specimen.inode(path) + offset, value);
    return specimen.error().code;
  };

  EXPECT_EQ(with("file", 0, uint16_t{8}), Code::kUnsupported) << "compact";
  EXPECT_EQ(with("file", 0, uint16_t{3}), Code::kUnsupported) << "compressed";
  EXPECT_EQ(with("file", 0, inode_format(Layout::kFlatPlain)), Code::kInvalid) << "plain data";
  EXPECT_EQ(with("file", 4, uint16_t{0644}), Code::kInvalid) << "no type";
  EXPECT_EQ(with("file", 6, uint16_t{1}), Code::kInvalid) << "reserved";
  EXPECT_EQ(with("file", 8, ~uint64_t{0}), Code::kInvalid) << "size";
  EXPECT_EQ(with("file", 16, uint32_t{0}), Code::kInvalid) << "4-byte block map";
  EXPECT_EQ(with("file", 16, uint32_t{0x60}), Code::kInvalid) << "48-bit chunks";
  EXPECT_EQ(with("file", 40, uint32_t{1'000'000'000}), Code::kInvalid) << "nanoseconds";
  EXPECT_EQ(with("file", 44, uint32_t{0}), Code::kInvalid) << "no links";
  EXPECT_EQ(with("link", 8, uint64_t{0}), Code::kInvalid) << "empty target";
  EXPECT_EQ(with("link", 8, uint64_t{5000}), Code::kInvalid) << "target across blocks";
  EXPECT_EQ(with("a", 8, uint64_t{0}), Code::kInvalid) << "directory without dots";
  EXPECT_EQ(with("a", 8, uint64_t{1} << 40), Code::kInvalid) << "directory past the image";
}

TEST(Validator, RefusesMalformedXattrs) {
  const auto with = [](uint64_t offset, auto value) {
    Specimen specimen;
    set(specimen.inode("xattrs") + offset, value);
    return specimen.error().code;
  };

  EXPECT_EQ(with(2, uint16_t{1}), Code::kInvalid) << "body without entries";
  EXPECT_EQ(with(2, uint16_t{4}), Code::kInvalid) << "cut off";
  EXPECT_EQ(with(2, uint16_t{0xffff}), Code::kInvalid) << "past the image";
  EXPECT_EQ(with(64, uint32_t{1}), Code::kInvalid) << "name filter";
  EXPECT_EQ(with(68, uint8_t{1}), Code::kInvalid) << "shared without an area";
  EXPECT_EQ(with(64 + 12, uint8_t{200}), Code::kInvalid) << "long name";
  EXPECT_EQ(with(64 + 13, uint8_t{5}), Code::kInvalid) << "unknown prefix";
  EXPECT_EQ(with(64 + 13, uint8_t{2}), Code::kInvalid) << "ACL with a name";
  EXPECT_EQ(with(64 + 14, uint16_t{60000}), Code::kInvalid) << "long value";
  EXPECT_EQ(with(64 + 16, uint8_t{0}), Code::kInvalid) << "NUL in the name";
}

// Two files that share an access list of the largest size, and `others` that share something small.
Tree tree_with_access_list(int others) {
  const auto add_entry = [](Buffer& acl, uint16_t tag, uint32_t id) {
    const size_t at = acl.size();
    acl.resize(at + 8);
    store_le(acl.data() + at, tag);
    store_le(acl.data() + at + 2, uint16_t{6});
    store_le(acl.data() + at + 4, id);
  };
  constexpr uint32_t kNobody = 0xffffffff;
  Buffer acl(4);
  store_le(acl.data(), uint32_t{2});
  add_entry(acl, 1, kNobody);
  for (uint32_t user = 0; user < 8187; ++user) add_entry(acl, 2, user);
  for (const int tag : {4, 0x10, 0x20}) add_entry(acl, static_cast<uint16_t>(tag), kNobody);

  Tree tree = test::empty_tree();
  Inode file = test::file(0);
  file.xattrs = {{"system.posix_acl_access", acl}};
  for (const char* name : {"first", "second"}) test::add(tree, 0, name, file);
  file.xattrs = {{"user.x", test::bytes_of("v")}};
  for (int i = 0; i < others; ++i) test::add(tree, 0, fmt::format("other{}", i), file);
  return tree;
}

// Where a file that has a single xattr, a shared one, has its id.
std::byte* shared_id(Specimen& specimen, std::string_view path) {
  return specimen.inode(path) + kInodeSize + kXattrHeaderSize;
}

double seconds_to_validate(const Buffer& image) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = now();
    EXPECT_TRUE(validate(image));
    best = std::min(best, now() - start);
  }
  return best;
}

TEST(Validator, LooksAtASharedXattrOnceHoweverManyHaveIt) {
  constexpr int kOthers = 20'000;
  Specimen specimen(tree_with_access_list(kOthers));
  const double small = seconds_to_validate(specimen.image());
  const auto access_list = load_le<uint32_t>(shared_id(specimen, "first"));
  std::vector<std::byte*> ids;
  for (int i = 0; i < kOthers; ++i) ids.push_back(shared_id(specimen, fmt::format("other{}", i)));
  for (std::byte* id : ids) set(id, access_list);
  fix_checksum(specimen.image());

  const double large = seconds_to_validate(specimen.image());

  EXPECT_LT(large, 10 * small);
}

TEST(Validator, RefusesASharedXattrThatIsNone) {
  Specimen right(tree_with_access_list(2));
  EXPECT_EQ(right.error().code, Code::kExists);
  const auto user_x = load_le<uint32_t>(shared_id(right, "other0"));

  // A name and value that are well formed, within the access list or behind all.
  for (const uint32_t id : {user_x - 1, user_x + 1, uint32_t{0x7fffffff}}) {
    Specimen specimen(tree_with_access_list(2));
    set(shared_id(specimen, "other0"), id);
    EXPECT_NE(specimen.error().message.find("no shared xattr"), std::string::npos) << id;
  }
}

TEST(Validator, RefusesAnAreaOfSharedXattrsThatNoWriterOfOursMakes) {
  const auto with_byte = [](uint64_t from_end, uint8_t value) {
    Specimen specimen(tree_with_access_list(2));
    set(specimen.image().data() + specimen.image().size() - from_end, value);
    return specimen.error().code;
  };
  Specimen specimen(tree_with_access_list(2));
  const uint64_t area = Reader::open(specimen.image())->superblock().xattr_block * kBlockSize;
  const uint64_t first = specimen.image().size() - area;

  EXPECT_EQ(with_byte(1, 0), Code::kExists);
  EXPECT_EQ(with_byte(1, 1), Code::kInvalid) << "bytes behind the last";
  EXPECT_EQ(with_byte(first - 1, 9), Code::kInvalid) << "unknown prefix";
  EXPECT_EQ(with_byte(first - 4, 9), Code::kInvalid) << "access list of another version";
}

TEST(Validator, RefusesSuperblocksThatNoWriterOfOursMakes) {
  const auto with = [](uint64_t offset, auto value) {
    Specimen specimen;
    set(specimen.superblock() + offset, value);
    return specimen.error().code;
  };

  EXPECT_EQ(with(8, uint32_t{kCompatMtime}), Code::kInvalid) << "no checksum";
  EXPECT_EQ(with(8, uint32_t{7}), Code::kUnsupported) << "xattr filter";
  EXPECT_EQ(with(12, uint8_t{9}), Code::kUnsupported) << "block size";
  EXPECT_EQ(with(13, uint8_t{1}), Code::kInvalid) << "extension slots";
  EXPECT_EQ(with(14, uint16_t{0xffff}), Code::kInvalid) << "root past the image";
  EXPECT_EQ(with(16, uint64_t{8}), Code::kInvalid) << "inode count";
  EXPECT_EQ(with(36, uint32_t{77}), Code::kInvalid) << "blocks";
  EXPECT_EQ(with(40, uint32_t{1}), Code::kUnsupported) << "metadata elsewhere";
  EXPECT_EQ(with(64, uint8_t{'v'}), Code::kInvalid) << "volume name";
  EXPECT_EQ(with(80, uint32_t{0x1c}), Code::kUnsupported) << "unknown feature";
  EXPECT_EQ(with(80, uint32_t{kIncompatChunkedFile}), Code::kInvalid) << "table not announced";
  EXPECT_EQ(with(86, uint16_t{0}), Code::kInvalid) << "no devices";
  EXPECT_EQ(with(86, uint16_t{0xffff}), Code::kInvalid) << "table past the image";
  EXPECT_EQ(with(88, uint16_t{8}), Code::kInvalid) << "table over the superblock";
  EXPECT_EQ(with(90, uint8_t{1}), Code::kInvalid) << "directory block size";
  EXPECT_EQ(with(128 + 68, uint32_t{1}), Code::kInvalid) << "mapped device";
}

TEST(Validator, RefusesBytesWithTwoMeanings) {
  // A directory whose block of entries is another's, "." and all, cannot be: so let one point its
  // whole blocks at the other's, and keep dots of its own in the tail.
  Tree tree = test::empty_tree();
  for (const char* name : {"one", "two"}) {
    const uint32_t directory = test::add(tree, 0, name, test::directory());
    for (int i = 0; i < 100; ++i) {
      test::add(tree, directory, "!" + std::string(250, 'x') + std::to_string(i), test::file(0));
    }
  }
  Specimen specimen(tree);
  set(specimen.inode("two") + 16, load_le<uint32_t>(specimen.inode("one") + 16));

  EXPECT_NE(specimen.error().message.find("belong to something else"), std::string::npos)
      << specimen.error().message;
}

TEST(Validator, KeepsItsLimits) {
  const Buffer image = Specimen().image();

  EXPECT_EQ(validate(image, {.image_bytes = 4095}).error().code, Code::kExhausted);
  EXPECT_EQ(validate(image, {.inodes = 6}).error().code, Code::kExhausted);
  EXPECT_EQ(validate(image, {.depth = 1}).error().code, Code::kExhausted);
  EXPECT_EQ(validate(image, {.devices = 1}).error().code, Code::kExhausted);
  EXPECT_TRUE(validate(image, {.image_bytes = 4096, .inodes = 7, .depth = 2, .devices = 2}));
}

TEST(Validator, RestsNowAndThenInALargeImage) {
  Tree tree = test::empty_tree();
  for (int i = 0; i < 70'000; ++i) test::add(tree, 0, fmt::format("file{:05}", i), test::file(0));
  int rests = 0;

  const auto summary = validate(write_image(tree).value(), {}, [&] { ++rests; });

  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->inodes, 70'001u);
  EXPECT_EQ(rests, 2);
}

TEST(Validator, HoldsNoMoreOfALargeDirectoryThanABlock) {
  Tree tree = test::empty_tree();
  for (int i = 0; i < 70'000; ++i) test::add(tree, 0, fmt::format("file{:05}", i), test::file(0));
  const Buffer image = write_image(tree).value();
  const auto held = [] {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const size_t before = held();
  size_t most = before;

  ASSERT_TRUE(validate(image, {}, [&] { most = std::max(most, held()); }));

  EXPECT_LT(most - before, size_t{1} << 20);
}

TEST(Validator, RefusesNamesThatDoNotAscendFromBlockToBlock) {
  Tree tree = test::empty_tree();
  for (int i = 0; i < 100; ++i) {
    test::add(tree, 0, fmt::format("{:02}", i) + std::string(250, 'x'), test::file(0));
  }
  Specimen specimen(tree);
  const Reader reader = Reader::open(specimen.image()).value();
  const Node root = reader.node(reader.root()).value();
  const Bytes second = reader.content_block(root, 1).value();
  std::byte* name = specimen.image().data() + (second.data() - specimen.image().data()) +
                    load_le<uint16_t>(second.data() + 8);
  *name = std::byte{'!'};

  EXPECT_NE(specimen.error().message.find("out of order"), std::string::npos)
      << specimen.error().message;
}

TEST(Validator, RefusesImagesThatAreCutShort) {
  const Buffer image = write_image(test::random_tree(5)).value();

  for (size_t size = 0; size < image.size(); size += 512) {
    EXPECT_FALSE(validate(Bytes(image).first(size))) << size;
  }
}

// ---- mutations: nothing crashes, and what is accepted can be read ----

void expect_readable_if_accepted(const Buffer& image) {
  const auto summary = validate(image);
  const auto reader = Reader::open(image);
  if (!reader) return;
  const auto tree = read_tree(*reader, 100'000);  // must not crash on rejected ones either
  if (!summary) return;
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->inodes.size(), summary->inodes);
  for (const auto& [path, index] : test::paths_of(*tree)) {
    const auto node = reader->resolve(path, false);
    ASSERT_TRUE(node) << node.error().message;
    EXPECT_EQ(node->disk.mode, tree->inodes[index].mode);
  }
}

TEST(Mutations, OfEachByteNeverFoolTheReader) {
  const Buffer original = Specimen().image();
  for (size_t at = 0; at < original.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      Buffer image = original;
      image[at] ^= static_cast<std::byte>(flip);
      expect_readable_if_accepted(image);
      if (at < kBlockSize) {
        fix_checksum(image);
        expect_readable_if_accepted(image);
      }
      ASSERT_FALSE(HasFailure()) << "byte " << at;
    }
  }
}

TEST(Mutations, OfManyKindsNeverFoolTheReader) {
  std::mt19937 random(42);
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const Buffer original = write_image(test::random_tree(seed)).value();
    for (int round = 0; round < 50; ++round) {
      Buffer image = original;
      for (uint32_t i = 0; i <= random() % 4; ++i) {
        const size_t at = random() % image.size();
        switch (random() % 3) {
          case 0: image[at] = static_cast<std::byte>(random()); break;
          case 1: image[at] = std::byte{0}; break;
          default: {  // a copy of another place of the image
            const size_t size = std::min<size_t>(1 + random() % 64, image.size() - at);
            const size_t from = random() % (image.size() - size + 1);
            std::copy_n(original.begin() + static_cast<ptrdiff_t>(from), size,
                        image.begin() + static_cast<ptrdiff_t>(at));
          }
        }
      }
      fix_checksum(image);
      expect_readable_if_accepted(image);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << " round " << round;
    }
  }
}

}  // namespace
}  // namespace runnel::erofs
