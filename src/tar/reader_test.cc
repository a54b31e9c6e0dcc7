#include "tar/reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "support/tar_builder.h"
#include "support/tar_recorder.h"

namespace runnel::tar {
namespace {

using test::content_of;
using test::kGnuMagic;
using test::kV7Magic;
using test::RecordedEntry;
using test::TarBuilder;
using test::TarHeader;
using test::TarRecorder;

// Feeds the archive in pieces of `piece` bytes.
Result<std::vector<RecordedEntry>> read(Bytes archive, size_t piece = SIZE_MAX,
                                        const Limits& limits = {}) {
  Reader reader(limits);
  TarRecorder recorder;
  while (!archive.empty()) {
    const size_t size = std::min(piece, archive.size());
    RUNNEL_DO(reader.feed(archive.first(size), recorder));
    archive = archive.subspan(size);
  }
  RUNNEL_DO(reader.finish());
  return std::move(recorder.entries);
}

Result<std::vector<RecordedEntry>> read(const TarBuilder& builder, const Limits& limits = {}) {
  return read(builder.bytes(), SIZE_MAX, limits);
}

// The only entry of an archive of one.
Entry entry_of(const TarBuilder& builder) {
  const auto entries = read(builder);
  EXPECT_TRUE(entries) << entries.error().message;
  EXPECT_EQ(entries->size(), 1u);
  return entries->front().entry;
}

void expect_invalid(const TarBuilder& builder, std::string_view part_of_message) {
  const auto entries = read(builder);
  ASSERT_FALSE(entries) << part_of_message;
  EXPECT_EQ(entries.error().code, Code::kInvalid);
  EXPECT_NE(entries.error().message.find(part_of_message), std::string::npos)
      << entries.error().message;
}

// Some of everything: what the tests of cutting and splitting run over.
TarBuilder mixed_archive() {
  TarBuilder builder;
  builder.directory("dir/");
  builder.file("dir/small", "contents");
  builder.file("dir/one-block", std::string(512, 'x'));
  builder.file("dir/empty", "");
  builder.pax({{"path", "a/long/name"}, {"mtime", "-1.5"}, {"SCHILY.xattr.user.a", "v"}});
  builder.file("short", std::string(700, 'y'));
  builder.add({.name = "././@LongLink", .type = 'L', .magic = kGnuMagic},
              std::string(300, 'n') + '\0');
  builder.symlink("cut", "target");
  builder.pax({{"comment", "global"}}, 'g');
  builder.pax({{"GNU.sparse.major", "1"},
               {"GNU.sparse.minor", "0"},
               {"GNU.sparse.name", "sparse"},
               {"GNU.sparse.realsize", "5000"}});
  std::string map = "2\n0\n5\n4000\n10\n";
  map.resize(512);
  builder.file("GNUSparseFile.0/sparse", map + "01234abcdefghij");
  builder.hard_link("link", "dir/small");
  return builder.end();
}

TEST(TarReader, ReadsAnEmptyArchive) {
  EXPECT_EQ(read(Bytes())->size(), 0u);
  EXPECT_EQ(read(TarBuilder().end())->size(), 0u);
}

TEST(TarReader, ReadsAFileWithItsContent) {
  TarBuilder builder;
  builder
      .add({.name = "etc/hosts", .mode = 04755, .uid = 1, .gid = 2, .mtime = 1700000000},
           "127.0.0.1 localhost\n")
      .end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 1u);
  const Entry& entry = entries[0].entry;
  EXPECT_EQ(entry.name, "etc/hosts");
  EXPECT_EQ(entry.type, EntryType::kRegular);
  EXPECT_EQ(entry.mode, 04755u);
  EXPECT_EQ(entry.uid, 1u);
  EXPECT_EQ(entry.gid, 2u);
  EXPECT_EQ(entry.mtime_s, 1700000000);
  EXPECT_EQ(entry.size, 20u);
  EXPECT_EQ(entry.data_extents, (std::vector<Extent>{{0, 20}}));
  EXPECT_EQ(entries[0].data, "127.0.0.1 localhost\n");
  EXPECT_TRUE(entries[0].ended);
}

TEST(TarReader, TellsTheTypesApart) {
  TarBuilder builder;
  for (const char type : {'0', '\0', '7', '1', '2', '3', '4', '5', '6', 'V', 'X', 'z'})
    builder.add({.name = "n", .type = type, .link_name = "l", .dev_major = 5, .dev_minor = 1});

  const auto entries = read(builder.end()).value();

  const std::vector<EntryType> expected = {
      EntryType::kRegular, EntryType::kRegular,    EntryType::kRegular,     EntryType::kHardLink,
      EntryType::kSymlink, EntryType::kCharDevice, EntryType::kBlockDevice, EntryType::kDirectory,
      EntryType::kFifo,    EntryType::kOther,      EntryType::kOther,       EntryType::kOther};
  ASSERT_EQ(entries.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Entry& entry = entries[i].entry;
    const bool is_link = entry.type == EntryType::kHardLink || entry.type == EntryType::kSymlink;
    const bool is_device =
        entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
    EXPECT_EQ(entry.type, expected[i]) << i;
    EXPECT_EQ(entry.link_name, is_link ? "l" : "") << i;
    EXPECT_EQ(entry.dev_major, is_device ? 5u : 0u) << i;
    EXPECT_EQ(entry.dev_minor, is_device ? 1u : 0u) << i;
  }
}

TEST(TarReader, MakesADirectoryOfATrailingSlashOnlyInV7) {
  TarBuilder v7;
  v7.add({.name = "dir/", .type = '\0', .magic = kV7Magic}).end();
  TarBuilder ustar;
  ustar.add({.name = "file/"}, "data").end();

  EXPECT_EQ(entry_of(v7).type, EntryType::kDirectory);
  EXPECT_EQ(entry_of(ustar).type, EntryType::kRegular);
}

TEST(TarReader, IgnoresTheSizeOfTypesWithoutContent) {
  TarBuilder builder;
  for (const char type : {'1', '2', '3', '4', '5', '6'})
    builder.raw(test::tar_header({.name = "n", .type = type, .size = 5000}));

  const auto entries = read(builder.end()).value();

  ASSERT_EQ(entries.size(), 6u);
  for (const auto& recorded : entries) {
    EXPECT_EQ(recorded.entry.size, 0u);
    EXPECT_TRUE(recorded.entry.data_extents.empty());
  }
}

TEST(TarReader, AppliesPaxRecordsToTheNextEntryOnly) {
  TarBuilder builder;
  builder.pax({{"path", "long"},
               {"linkpath", "long target"},
               {"uid", "5000000000"},
               {"gid", "6000000000"},
               {"mtime", "1.000000007"},
               {"SCHILY.xattr.security.capability", std::string("\1\0\0\2", 4)}});
  builder.symlink("short", "short target").symlink("next", "its target").end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 2u);
  const Entry& entry = entries[0].entry;
  EXPECT_EQ(entry.name, "long");
  EXPECT_EQ(entry.link_name, "long target");
  EXPECT_EQ(entry.uid, 5000000000u);
  EXPECT_EQ(entry.gid, 6000000000u);
  EXPECT_EQ(entry.mtime_s, 1);
  EXPECT_EQ(entry.mtime_ns, 7u);
  ASSERT_EQ(entry.xattrs.size(), 1u);
  EXPECT_EQ(entry.xattrs[0].first, "security.capability");
  EXPECT_EQ(entries[1].entry.name, "next");
  EXPECT_EQ(entries[1].entry.link_name, "its target");
  EXPECT_TRUE(entries[1].entry.xattrs.empty());
}

TEST(TarReader, TakesTheSizeFromPax) {
  TarBuilder builder;
  builder.pax({{"size", "600"}});
  builder.raw(test::tar_header({.name = "big"})).raw(as_bytes(std::string(600, 'b'))).pad();
  builder.file("next", "n").end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].data, std::string(600, 'b'));
  EXPECT_EQ(entries[1].data, "n");
}

TEST(TarReader, LetsASecondPaxHeaderReplaceTheFirst) {
  TarBuilder builder;
  builder.pax({{"path", "from first"}, {"uid", "7"}}).pax({{"path", "from second"}});
  builder.file("f", "").end();

  const Entry entry = entry_of(builder);

  EXPECT_EQ(entry.name, "from second");
  EXPECT_EQ(entry.uid, 0u);
}

TEST(TarReader, HandsOnGlobalHeadersAndAppliesThemToNothing) {
  TarBuilder builder;
  builder.pax({{"path", "lost"}});
  builder.pax({{"mtime", "5"}, {"uid", "7"}, {"comment", "0123abc"}}, 'g');
  builder.file("f", "data").end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].entry.type, EntryType::kGlobalHeader);
  EXPECT_EQ(entries[0].entry.name, "PaxHeaders/x");
  EXPECT_EQ(entries[1].entry.name, "f");
  EXPECT_EQ(entries[1].entry.uid, 0u);
  EXPECT_EQ(entries[1].entry.mtime_s, 0);
}

TEST(TarReader, TakesNamesOfAnyBytes) {
  TarBuilder builder;
  builder.pax({{"hdrcharset", "BINARY"}, {"path", "caf\xe9\n"}}).file("f", "");
  builder.file("\xff\xfe", "").end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].entry.name, "caf\xe9\n");
  EXPECT_EQ(entries[1].entry.name, "\xff\xfe");
}

TEST(TarReader, JoinsGnuLongNamesAndLinks) {
  const std::string name(500, 'n');
  const std::string target(600, 't');
  TarBuilder builder;
  builder.add({.name = "././@LongLink", .type = 'K', .magic = kGnuMagic}, target + '\0');
  builder.add({.name = "././@LongLink", .type = 'L', .magic = kGnuMagic}, name + '\0');
  builder.symlink("cut", "cut").symlink("next", "target").end();

  const auto entries = read(builder).value();

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].entry.name, name);
  EXPECT_EQ(entries[0].entry.link_name, target);
  EXPECT_EQ(entries[1].entry.name, "next");
}

TEST(TarReader, PrefersGnuLongNamesToPax) {
  TarBuilder builder;
  builder.pax({{"path", "pax"}});
  builder.add({.name = "././@LongLink", .type = 'L', .magic = kGnuMagic}, "gnu");
  builder.file("header", "").end();

  EXPECT_EQ(entry_of(builder).name, "gnu");
}

TEST(TarReader, ReadsBinaryNumbers) {
  Buffer header = test::tar_header({.name = "f", .magic = kGnuMagic});
  test::patch_header(header, 108, std::string_view("\x80\0\0\0\xff\xff\xff\xfe", 8));
  test::patch_header(header, 136,
                     std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf6", 12));

  const Entry entry = entry_of(TarBuilder().raw(header).end());

  EXPECT_EQ(entry.uid, 4294967294u);
  EXPECT_EQ(entry.mtime_s, -10);
}

TEST(TarReader, RefusesNegativeSizesAndOwners) {
  const std::string_view minus_one("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
  Buffer size = test::tar_header({.name = "f"});
  test::patch_header(size, 124, minus_one);
  Buffer uid = test::tar_header({.name = "f"});
  test::patch_header(uid, 108, minus_one.substr(0, 8));
  Buffer special = test::tar_header({.name = "f", .type = 'x'});
  test::patch_header(special, 124, minus_one);

  expect_invalid(TarBuilder().raw(size).end(), "size is negative, -1");
  expect_invalid(TarBuilder().raw(uid).end(), "uid is negative, -1");
  expect_invalid(TarBuilder().raw(special).end(), "size is negative, -1");
  expect_invalid(TarBuilder().pax({{"size", "-5"}}).file("f", "").end(), "size is negative, -5");
  expect_invalid(TarBuilder().pax({{"gid", "-5"}}).file("f", "").end(), "gid is negative, -5");
}

TEST(TarReader, RefusesPaxRecordsThatDoNotParse) {
  expect_invalid(TarBuilder().pax({{"mtime", "soon"}}).file("f", ""), "PAX record mtime");
  expect_invalid(TarBuilder().pax({{"atime", "soon"}}).file("f", ""), "PAX record atime");
  expect_invalid(TarBuilder().pax({{"uid", "root"}}).file("f", ""), "PAX record uid");
  expect_invalid(TarBuilder().add({.name = "x", .type = 'x'}, "no records").file("f", ""),
                 "a record");
}

TEST(TarReader, NamesTheEntryAndTheByteInErrors) {
  TarBuilder builder;
  builder.file("first", "content").pax({{"path", "x"}}).pax({{"uid", "root"}}).file("f", "");

  const auto entries = read(builder);

  ASSERT_FALSE(entries);
  EXPECT_EQ(
      entries.error().message,
      "tar: entry 1 \"f\", whose header is at byte 3072: PAX record uid: not a decimal number of "
      "64 bits");
}

TEST(TarReader, RefusesWhatIsNotAnArchive) {
  expect_invalid(TarBuilder().raw(as_bytes(std::string(2048, 'x'))),
                 "entry 0, whose header is at "
                 "byte 0: no header is here");
}

TEST(TarReader, IgnoresWhatFollowsTwoZeroBlocks) {
  TarBuilder builder;
  builder.file("f", "data").end().raw(as_bytes(std::string(1234, 'x')));

  EXPECT_EQ(read(builder)->size(), 1u);
}

TEST(TarReader, EndsWithTheInputAtABlockBorderOrInPadding) {
  TarBuilder builder;
  builder.file("f", "data");
  const Buffer one_zero_block = TarBuilder(builder).raw(Buffer(512)).bytes();

  EXPECT_EQ(read(builder.bytes())->size(), 1u);
  EXPECT_EQ(read(one_zero_block)->size(), 1u);
  EXPECT_EQ(read(Bytes(builder.bytes()).first(512 + 4))->size(), 1u);
  EXPECT_EQ(read(Bytes(builder.bytes()).first(512 + 100))->size(), 1u);
}

TEST(TarReader, RefusesASingleZeroBlockBetweenEntries) {
  TarBuilder builder;
  builder.file("f", "data").raw(Buffer(512)).file("g", "data").end();

  expect_invalid(builder, "single zero block");
}

TEST(TarReader, GivesTheSameEntriesHoweverTheInputIsSplit) {
  const Buffer archive = mixed_archive().bytes();
  const auto whole = read(archive).value();
  ASSERT_EQ(whole.size(), 9u);

  for (size_t piece = 1; piece <= 1100; ++piece) {
    const auto split = read(archive, piece);
    ASSERT_TRUE(split) << split.error().message;
    ASSERT_EQ(*split, whole) << "pieces of " << piece;
  }
  for (size_t at = 0; at <= archive.size(); ++at) {
    Reader reader;
    TarRecorder recorder;
    ASSERT_TRUE(reader.feed(Bytes(archive).first(at), recorder));
    ASSERT_TRUE(reader.feed(Bytes(archive).subspan(at), recorder));
    ASSERT_TRUE(reader.finish());
    ASSERT_EQ(recorder.entries, whole) << "split at " << at;
  }
}

TEST(TarReader, CutAnywhereFailsOrGivesAShorterArchive) {
  const Buffer archive = mixed_archive().bytes();
  const auto whole = read(archive).value();
  size_t clean = 0;

  for (size_t size = 0; size < archive.size(); ++size) {
    const auto cut = read(Bytes(archive).first(size));
    if (!cut) {
      EXPECT_EQ(cut.error().code, Code::kInvalid);
      EXPECT_NE(cut.error().message.find("cut short"), std::string::npos);
      continue;
    }
    ++clean;
    ASSERT_LE(cut->size(), whole.size());
    EXPECT_TRUE(std::ranges::equal(*cut, std::span(whole).first(cut->size()))) << size;
  }
  EXPECT_GT(clean, 0u);
}

TEST(TarReader, HandsOnTheHandlersErrorAsItIs) {
  class Refuser : public TarRecorder {
   public:
    Result<void> data(uint64_t, Bytes) override { return fail(Code::kExhausted, "disk full"); }
  };
  Reader reader;
  Refuser refuser;
  const Buffer archive = mixed_archive().bytes();

  const auto first = reader.feed(archive, refuser);
  const auto second = reader.feed(archive, refuser);

  ASSERT_FALSE(first);
  EXPECT_EQ(first.error(), Error(Code::kExhausted, "disk full"));
  EXPECT_EQ(second, first);
  EXPECT_EQ(reader.finish(), first);
}

TEST(TarReader, KeepsToItsLimits) {
  const std::string longest(4095, 'n');
  TarBuilder fits;
  fits.pax({{"path", longest}}).file("f", "").end();
  TarBuilder too_long;
  too_long.pax({{"path", longest + "n"}}).file("f", "").end();
  TarBuilder big_header;
  big_header.pax({{"comment", std::string(1 << 20, 'c')}}).file("f", "").end();

  EXPECT_TRUE(read(fits));
  EXPECT_EQ(read(too_long).error().code, Code::kExhausted);
  EXPECT_EQ(read(big_header).error().code, Code::kExhausted);
  EXPECT_TRUE(read(big_header, {.max_special_size = 2 << 20}));
}

TEST(TarReader, TakesAFileOfMoreThanEightGibibytes) {
  Buffer header = test::tar_header({.name = "huge", .magic = kGnuMagic});
  test::patch_header(header, 124, std::string_view("\x80\0\0\0\0\0\0\x04\0\0\0\0", 12));
  Reader reader;
  class Counter : public Handler {
   public:
    uint64_t bytes = 0;
    bool ended = false;
    Result<void> entry(const Entry& entry) override {
      EXPECT_EQ(entry.size, uint64_t{16} << 30);
      return {};
    }
    Result<void> data(uint64_t offset, Bytes piece) override {
      EXPECT_EQ(offset, bytes);
      bytes += piece.size();
      return {};
    }
    Result<void> entry_end() override {
      ended = true;
      return {};
    }
  } counter;
  const Buffer piece(64 << 20);

  ASSERT_TRUE(reader.feed(header, counter));
  for (int i = 0; i < 256; ++i) ASSERT_TRUE(reader.feed(piece, counter));

  EXPECT_EQ(counter.bytes, uint64_t{16} << 30);
  EXPECT_TRUE(counter.ended);
  EXPECT_TRUE(reader.finish());
}

}  // namespace
}  // namespace runnel::tar
