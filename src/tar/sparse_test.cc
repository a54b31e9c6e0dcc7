#include "tar/sparse.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/tar_builder.h"
#include "support/tar_recorder.h"

namespace runnel::tar {
namespace {

using test::content_of;
using test::kGnuMagic;
using test::RecordedEntry;
using test::TarBuilder;
using test::TarRecorder;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

Result<std::vector<Extent>> checked(const std::vector<std::pair<int64_t, int64_t>>& parts,
                                    uint64_t size, uint64_t stored) {
  SparseMap map(100);
  for (const auto& [offset, length] : parts) RUNNEL_DO(map.add(offset, length));
  return map.check(size, stored);
}

Result<RecordedEntry> read_one(const TarBuilder& builder, const Limits& limits = {}) {
  Reader reader(limits);
  TarRecorder recorder;
  RUNNEL_DO(reader.feed(builder.bytes(), recorder));
  RUNNEL_DO(reader.finish());
  EXPECT_EQ(recorder.entries.size(), 1u);
  return std::move(recorder.entries.front());
}

std::string padded(std::string map) {
  map.resize(round_up(map.size(), kBlockSize));
  return map;
}

TarBuilder pax_1_0(const std::string& map_and_data, std::string size = "1000") {
  TarBuilder builder;
  builder.pax({{"GNU.sparse.major", "1"},
               {"GNU.sparse.minor", "0"},
               {"GNU.sparse.name", "real name"},
               {"GNU.sparse.realsize", std::move(size)}});
  return builder.file("GNUSparseFile.1/f", map_and_data).end();
}

// A GNU header of type 'S' with these pairs and this real size.
Buffer old_gnu_header(const std::vector<std::pair<int, int>>& pairs, int real_size, size_t stored,
                      bool extended = false) {
  Buffer header = test::tar_header({.name = "f", .type = 'S', .size = stored, .magic = kGnuMagic});
  for (size_t i = 0; i < pairs.size(); ++i)
    test::patch_header(header, 386 + i * 24,
                       fmt::format("{:011o} {:011o} ", pairs[i].first, pairs[i].second));
  test::patch_header(header, 482, extended ? "\1" : std::string_view("\0", 1));
  test::patch_header(header, 483, fmt::format("{:011o} ", real_size));
  return header;
}

Buffer old_gnu_extension(const std::vector<std::pair<int, int>>& pairs, bool extended) {
  Buffer block(kBlockSize);
  for (size_t i = 0; i < pairs.size(); ++i)
    std::ranges::copy(as_bytes(fmt::format("{:011o} {:011o} ", pairs[i].first, pairs[i].second)),
                      block.begin() + static_cast<ptrdiff_t>(i * 24));
  block[504] = std::byte{extended};
  return block;
}

TEST(SparseMap, DropsEmptyPartsAndJoinsTouchingOnes) {
  EXPECT_EQ(checked({{0, 5}, {5, 5}, {20, 0}, {30, 1}, {100, 0}}, 100, 11),
            (std::vector<Extent>{{0, 10}, {30, 1}}));
  EXPECT_EQ(checked({}, 100, 0), std::vector<Extent>());
}

TEST(SparseMap, RefusesPartsThatCannotBe) {
  EXPECT_FALSE(checked({{-1, 5}}, 100, 5));
  EXPECT_FALSE(checked({{1, -5}}, 100, 0));
  EXPECT_FALSE(checked({{kMax, 1}}, kMax, 1));
  EXPECT_FALSE(checked({{0, 5}, {4, 5}}, 100, 10)) << "overlap";
  EXPECT_FALSE(checked({{10, 5}, {0, 5}}, 100, 10)) << "descend";
  EXPECT_FALSE(checked({{96, 5}}, 100, 5)) << "past the end";
  EXPECT_FALSE(checked({{101, 0}}, 100, 0)) << "past the end and empty";
  EXPECT_TRUE(checked({{95, 5}}, 100, 5));
}

TEST(SparseMap, RefusesStoredBytesThatAreNotThePartsSum) {
  EXPECT_FALSE(checked({{0, 5}}, 100, 4));
  EXPECT_FALSE(checked({{0, 5}}, 100, 6));
}

TEST(SparseMap, HasALimit) {
  SparseMap map(2);
  ASSERT_TRUE(map.add(0, 1));
  ASSERT_TRUE(map.add(2, 1));

  EXPECT_EQ(map.add(4, 1).error().code, Code::kExhausted);
}

TEST(PaxSparse, ReadsVersionOneZero) {
  const auto recorded = read_one(pax_1_0(padded("2\n10\n3\n900\n4\n") + "abcdefg")).value();

  EXPECT_EQ(recorded.entry.name, "real name");
  EXPECT_EQ(recorded.entry.size, 1000u);
  EXPECT_EQ(recorded.entry.data_extents, (std::vector<Extent>{{10, 3}, {900, 4}}));
  EXPECT_EQ(recorded.data, "abcdefg");
}

TEST(PaxSparse, ReadsAMapOfSeveralBlocks) {
  std::string map = "300\n";
  for (int i = 0; i < 300; ++i) map += fmt::format("{}\n1\n", 2 * i);
  const auto recorded = read_one(pax_1_0(padded(map) + std::string(300, 'd'))).value();

  ASSERT_EQ(recorded.entry.data_extents.size(), 300u);
  EXPECT_EQ(recorded.entry.data_extents.back(), (Extent{598, 1}));
}

TEST(PaxSparse, EndsTheMapAtTheBlockOfItsLastLine) {
  std::string exact = "1\n" + std::string(507, '0') + "\n5\n";
  ASSERT_EQ(exact.size(), 512u);

  EXPECT_EQ(read_one(pax_1_0(exact + "abcde"))->data, "abcde");
}

TEST(PaxSparse, ReadsAFileThatIsOneHole) {
  const auto recorded = read_one(pax_1_0(padded("0\n"))).value();

  EXPECT_EQ(recorded.entry.size, 1000u);
  EXPECT_TRUE(recorded.entry.data_extents.empty());
}

TEST(PaxSparse, RefusesBrokenMaps) {
  for (const char* map :
       {"", "x\n", "-1\n", "1\n0\n", "1\n0\n-5\n", "1\n 0\n5\n", "1\n0x\n5\n", "2\n0\n5\n1\n5\n",
        "1\n998\n5\n", "9999999999999\n", "99999999999999999999\n", "1\n0\n4\n", "1\n0\n6\n"})
    EXPECT_FALSE(read_one(pax_1_0(padded(map) + "abcde"))) << map;
  EXPECT_FALSE(read_one(pax_1_0("1\n0\n5\nabcde"))) << "no whole block";
  EXPECT_FALSE(read_one(pax_1_0(padded("1\n0\n5\n") + "abcde", "-1")));
  EXPECT_FALSE(read_one(pax_1_0(padded("1\n0\n5\n") + "abcde", "x")));
  EXPECT_TRUE(read_one(pax_1_0(padded("1\n0\n5\n") + "abcde")));
}

TEST(PaxSparse, BoundsTheMapsText) {
  const auto recorded = read_one(pax_1_0(std::string(5000, '0')), {.max_special_size = 4096});

  ASSERT_FALSE(recorded);
  EXPECT_EQ(recorded.error().code, Code::kExhausted);
}

TEST(PaxSparse, ReadsVersionsZeroZeroAndZeroOne) {
  TarBuilder zero;
  zero.pax({{"GNU.sparse.size", "1000"},
            {"GNU.sparse.numblocks", "2"},
            {"GNU.sparse.offset", "10"},
            {"GNU.sparse.numbytes", "3"},
            {"GNU.sparse.offset", "900"},
            {"GNU.sparse.numbytes", "4"}})
      .file("real name", "abcdefg")
      .end();
  TarBuilder one;
  one.pax({{"GNU.sparse.size", "1000"},
           {"GNU.sparse.numblocks", "2"},
           {"GNU.sparse.map", "10,3,900,4"},
           {"GNU.sparse.name", "real name"}})
      .file("GNUSparseFile.1/f", "abcdefg")
      .end();

  for (const TarBuilder& builder : {zero, one}) {
    const auto recorded = read_one(builder).value();
    EXPECT_EQ(recorded.entry.name, "real name");
    EXPECT_EQ(recorded.entry.size, 1000u);
    EXPECT_EQ(recorded.entry.data_extents, (std::vector<Extent>{{10, 3}, {900, 4}}));
    EXPECT_EQ(recorded.data, "abcdefg");
  }
}

TEST(PaxSparse, RefusesAMapThatDoesNotFitItsCount) {
  const auto with = [](std::string count, std::string map) {
    TarBuilder builder;
    builder
        .pax({{"GNU.sparse.size", "1000"},
              {"GNU.sparse.numblocks", std::move(count)},
              {"GNU.sparse.map", std::move(map)}})
        .file("f", "abcde")
        .end();
    return read_one(builder).has_value();
  };

  EXPECT_TRUE(with("1", "0,5"));
  EXPECT_FALSE(with("2", "0,5"));
  EXPECT_FALSE(with("1", "0,5,"));
  EXPECT_FALSE(with("1", "0"));
  EXPECT_FALSE(with("1", ",5"));
  EXPECT_FALSE(with("1", "0,,5"));
  EXPECT_FALSE(with("", "0,5"));
  EXPECT_FALSE(with("-1", "0,5"));
}

TEST(PaxSparse, GivesAFileOfAnUnknownVersionAsItIsStored) {
  TarBuilder builder;
  builder.pax({{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "x"}})
      .file("f", "as stored")
      .end();

  const auto recorded = read_one(builder).value();

  EXPECT_EQ(recorded.entry.name, "f");
  EXPECT_EQ(recorded.data, "as stored");
}

TEST(PaxSparse, IsOnlyForFiles) {
  TarBuilder builder;
  builder.pax({{"GNU.sparse.numblocks", "0"}, {"GNU.sparse.major", "0"}, {"GNU.sparse.minor", "1"}})
      .directory("d")
      .end();

  EXPECT_FALSE(read_one(builder));
}

TEST(OldGnuSparse, ReadsTheMapFromTheHeader) {
  TarBuilder builder;
  builder.raw(old_gnu_header({{10, 3}, {900, 4}, {1000, 0}}, 1000, 7))
      .raw(as_bytes("abcdefg"))
      .pad()
      .end();

  const auto recorded = read_one(builder).value();

  EXPECT_EQ(recorded.entry.type, EntryType::kRegular);
  EXPECT_EQ(recorded.entry.type_flag, 'S');
  EXPECT_EQ(recorded.entry.size, 1000u);
  EXPECT_EQ(recorded.entry.data_extents, (std::vector<Extent>{{10, 3}, {900, 4}}));
  EXPECT_EQ(recorded.data, "abcdefg");
}

TEST(OldGnuSparse, ReadsExtensionBlocks) {
  std::vector<std::pair<int, int>> full;
  for (int i = 0; i < 21; ++i) full.emplace_back(100 + 2 * i, 1);
  TarBuilder builder;
  builder.raw(old_gnu_header({{0, 1}, {2, 1}, {4, 1}, {6, 1}}, 1000, 26, true))
      .raw(old_gnu_extension(full, true))
      .raw(old_gnu_extension({{999, 1}}, false))
      .raw(as_bytes("abcdefghijklmnopqrstuvwxyz"))
      .pad()
      .end();

  const auto recorded = read_one(builder).value();

  ASSERT_EQ(recorded.entry.data_extents.size(), 26u);
  EXPECT_EQ(recorded.entry.data_extents.back(), (Extent{999, 1}));
  EXPECT_EQ(content_of(recorded)[140], 'y');
  EXPECT_EQ(content_of(recorded)[999], 'z');
}

TEST(OldGnuSparse, BoundsTheChainOfExtensions) {
  TarBuilder builder;
  builder.raw(old_gnu_header({}, 1000, 0, true));
  for (int i = 0; i < 3000; ++i) builder.raw(old_gnu_extension({}, true));

  const auto recorded = read_one(builder);

  ASSERT_FALSE(recorded);
  EXPECT_EQ(recorded.error().code, Code::kExhausted);
}

TEST(OldGnuSparse, RefusesOtherDialectsAndBrokenPairs) {
  TarBuilder ustar;
  ustar.add({.name = "f", .type = 'S'}).end();
  Buffer bad_pair = old_gnu_header({{10, 3}}, 1000, 3);
  test::patch_header(bad_pair, 386, "x");
  Buffer bad_size = old_gnu_header({{10, 3}}, 1000, 3);
  test::patch_header(bad_size, 483, "\xff");

  EXPECT_FALSE(read_one(ustar));
  EXPECT_FALSE(read_one(TarBuilder().raw(bad_pair).raw(as_bytes("abc")).pad().end()));
  EXPECT_FALSE(read_one(TarBuilder().raw(bad_size).raw(as_bytes("abc")).pad().end()));
}

}  // namespace
}  // namespace runnel::tar
