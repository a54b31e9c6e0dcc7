// The chunk table's reader. Its digests are made right first, or no mutation would get past them;
// what it accepts must tile device and blob, and every lookup must agree with every entry.
//
// links: artifact codec
#include <cstdint>
#include <cstring>
#include <span>

#include "artifact/chunk_table.h"
#include "base/error.h"
#include "codec/sha256.h"

namespace {

using runnel::Buffer;
using runnel::Bytes;
using runnel::artifact::ChunkTable;

constexpr size_t kHeader = 64;
constexpr size_t kHash = 32;
constexpr size_t kPage = 4096;

// Puts the hashes of the pages into the index, as far as both are there; returns the index's
// digest.
runnel::codec::Sha256Value make_digests_right(Buffer& bytes) {
  if (bytes.size() < kHeader) return {};
  const auto pages = runnel::load_le<uint32_t>(bytes.data() + 36);
  if (pages > bytes.size() / kPage) return {};
  const size_t index = kHeader + pages * kHash;
  if (bytes.size() < index + pages * kPage) return {};
  for (size_t page = 0; page < pages; ++page) {
    const auto hash = runnel::codec::sha256(Bytes(bytes).subspan(index + page * kPage, kPage));
    std::memcpy(bytes.data() + kHeader + page * kHash, hash.data(), kHash);
  }
  return runnel::codec::sha256(Bytes(bytes).first(index));
}

void check(const ChunkTable& table) {
  uint64_t block = 0;
  uint64_t offset = 0;
  for (uint32_t i = 0; i < table.size(); ++i) {
    const auto chunk = table.at(i);
    RUNNEL_CHECK(chunk.device_block == block && chunk.blob_offset == offset);
    RUNNEL_CHECK(chunk.blocks > 0 && chunk.size() <= table.chunk_max());
    RUNNEL_CHECK(table.find(block) == i && table.find(block + chunk.blocks - 1) == i);
    block += chunk.blocks;
    offset += chunk.stored_size;
  }
  RUNNEL_CHECK(block == table.device_blocks() && offset == table.frame_bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  Buffer bytes(input.begin(), input.end());
  (void)ChunkTable::parse(bytes, {});
  const auto digest = make_digests_right(bytes);
  if (const auto table = ChunkTable::parse(std::move(bytes), digest)) check(*table);
  return 0;
}
