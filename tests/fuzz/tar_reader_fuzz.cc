// Any bytes as a tar archive: no crash, the handler's contract is kept (TarRecorder checks it), and
// the entries, or the error, do not depend on how the input is cut into pieces.
//
// links: tar
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "support/tar_recorder.h"
#include "tar/reader.h"

using runnel::Bytes;
using runnel::Result;
using runnel::test::TarRecorder;

namespace {

constexpr size_t kBlock = 512;

Result<void> read(Bytes archive, size_t piece, TarRecorder& recorder) {
  runnel::tar::Reader reader;
  while (!archive.empty()) {
    const size_t size = std::min(piece, archive.size());
    RUNNEL_DO(reader.feed(archive.first(size), recorder));
    archive = archive.subspan(size);
  }
  return reader.finish();
}

// Different for each input, the same for the same.
size_t piece_size(Bytes archive) {
  size_t hash = 0;
  for (const std::byte byte : archive) hash = hash * 31 + std::to_integer<size_t>(byte);
  return 1 + hash % 1500;
}

// Gives a block its right checksum.
void seal(std::span<uint8_t> block) {
  std::fill_n(block.begin() + 148, 8, uint8_t{' '});
  unsigned sum = 0;
  for (const uint8_t byte : block) sum += byte;
  for (size_t i = 0; i < 6; ++i) block[153 - i] = static_cast<uint8_t>('0' + (sum >> (3 * i) & 7));
  block[154] = 0;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// A mutated header is worth nothing without its checksum, so most mutations make it right again in
// every block that looks like a header.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0) return size;
  for (size_t at = 0; at + kBlock <= size; at += kBlock) {
    const std::span block(data + at, kBlock);
    const bool has_magic = std::equal(block.begin() + 257, block.begin() + 262, "ustar");
    const bool has_checksum = block[154] == 0 && block[155] == ' ' && block[148] == '0';
    if (has_magic || has_checksum) seal(block);
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes archive = std::as_bytes(std::span(data, size));
  TarRecorder whole;
  TarRecorder pieces;

  const auto whole_outcome = read(archive, SIZE_MAX, whole);
  const auto pieces_outcome = read(archive, piece_size(archive), pieces);

  RUNNEL_CHECK(whole_outcome == pieces_outcome);
  RUNNEL_CHECK(whole.entries == pieces.entries);
  return 0;
}
