// Tables of images that are mounted must not fill the memory of the process.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "artifact/chunk_table.h"
#include "base/durable.h"
#include "base/mapped_file.h"
#include "support/temp_dir.h"

namespace runnel::artifact {
namespace {

[[maybe_unused]] uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

// AddressSanitizer keeps freed memory for a while, and shadows all of it: there is nothing to
// measure.
#if !__has_feature(address_sanitizer)

TEST(ChunkTable, TakesNoMemoryWhenItsFileIsMapped) {
  constexpr int kTables = 200;
  constexpr uint32_t kChunks = 8000;  // about 1 GB of an image
  ChunkTableWriter writer(kChunkSize);
  for (uint32_t i = 0; i < kChunks; ++i) writer.add(32, 1000 + i % 7, {});
  const auto written = writer.finish();
  const test::TempDir dir;
  ASSERT_TRUE(replace_file(dir.path() + "/table", written.bytes));
  const auto before = anonymous_bytes();
  ASSERT_GT(before, 0u);

  std::vector<ChunkTable> tables;
  for (int i = 0; i < kTables; ++i) {
    const auto file = MappedFile::open(dir.path() + "/table", 1 << 20).value();
    tables.push_back(ChunkTable::parse(file->bytes(), file, written.digest).value());
    tables.push_back(tables.back());  // as the engine has one too
  }

  EXPECT_EQ(tables.back().at(kChunks - 1).stored_size, 1000 + (kChunks - 1) % 7);
  EXPECT_LT(anonymous_bytes(), before + (4 << 20));
  EXPECT_GT(uint64_t{kTables} * written.bytes.size(), uint64_t{64} << 20);
}

#endif

}  // namespace
}  // namespace runnel::artifact
