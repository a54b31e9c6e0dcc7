// Any bytes as an EROFS metadata image: neither the validator nor the reader crashes, and an
// accepted image has no contradictions: the reader walks all of it, finds every name it lists, and
// the tree that comes out can be written again and gives an image that is accepted too.
//
// The seeds are images of write_image(): an empty root, one of each file type, directories of
// several blocks, sparse files on two devices, xattrs inline and shared, long symlinks.
//
// links: erofs
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "erofs/erofs.h"
#include "erofs/format.h"

using runnel::Buffer;
using runnel::Bytes;
using runnel::Code;
using namespace runnel::erofs;

namespace {

// A rejected image must not crash the reader, however little sense it makes.
void poke(const Reader& reader) {
  (void)read_tree(reader, 5000);
  (void)reader.resolve("a/b/../file", true);
}

void check_lookups(const Reader& reader) {
  std::vector<uint64_t> waiting = {reader.root()};
  while (!waiting.empty()) {
    const Node directory = reader.node(waiting.back()).value();
    waiting.pop_back();
    for (const Dirent& entry : reader.entries(directory).value()) {
      const Dirent found = reader.lookup(directory, entry.name).value();
      RUNNEL_CHECK(found.nid == entry.nid && found.type == entry.type);
      const Node node = reader.node(entry.nid).value();
      if (node.is_directory() && entry.name != "." && entry.name != "..") {
        waiting.push_back(entry.nid);
      }
    }
  }
}

void check_accepted(const Reader& reader, const Summary& summary) {
  const auto tree = read_tree(reader);
  RUNNEL_CHECK(tree.has_value());
  RUNNEL_CHECK(tree->inodes.size() == summary.inodes);
  RUNNEL_CHECK(tree->devices == summary.devices);
  check_lookups(reader);

  const auto again = write_image(*tree);
  if (!again) {
    // Shared xattrs that a single inode has would be inline now, and may not fit there.
    RUNNEL_CHECK(again.error().code == Code::kUnsupported);
    return;
  }
  RUNNEL_CHECK(validate(*again).has_value());
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Most mutations get whole blocks, the number of them, and the checksum right, or none would pass
// the superblock.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0) return size;
  const size_t whole = runnel::round_up(size, kBlockSize);
  if (whole == 0 || whole > max_size) return size;
  std::fill(data + size, data + whole, uint8_t{0});
  auto* superblock = reinterpret_cast<std::byte*>(data) + kSuperblockAt;
  runnel::store_le(superblock, kMagic);
  runnel::store_le(superblock + 36, static_cast<uint32_t>(whole / kBlockSize));
  const Bytes first_block = std::as_bytes(std::span(data, kBlockSize));
  runnel::store_le(superblock + 4, superblock_checksum(first_block));
  return whole;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes image = std::as_bytes(std::span(data, size));
  const auto summary = validate(image);
  const auto reader = Reader::open(image);
  RUNNEL_CHECK(reader.has_value() || !summary.has_value());
  if (summary) {
    check_accepted(*reader, *summary);
  } else if (reader) {
    poke(*reader);
  }
  return 0;
}
