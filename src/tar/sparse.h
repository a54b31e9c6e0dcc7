// The maps of sparse files: which parts of the file the archive has data for. GNU tar has had four
// ways to write them:
//
//   old GNU  type 'S'. In the header: 386 four pairs of offset[12] and length[12], 482 "extended",
//            483 realsize[12]. If extended is not 0, a block follows with 21 pairs, and at 504 the
//            next "extended"; and so on. A pair whose offset begins with NUL ends its block's list.
//   PAX 0.0  records GNU.sparse.size, GNU.sparse.numblocks, then GNU.sparse.offset and
//            GNU.sparse.numbytes in turn for each part
//   PAX 0.1  GNU.sparse.map instead of these: "offset,length,offset,length…", and GNU.sparse.name
//   PAX 1.0  GNU.sparse.major=1, minor=0, name, realsize; the map is at the head of the data, one
//            decimal number a line: how many parts, then offset and length of each, filled up with
//            NULs to a whole block
//
// (GNU tar's manual, "Storing Sparse Files"; numbers there are called octal but are decimal.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tar/entry.h"
#include "tar/header.h"
#include "tar/pax.h"

namespace runnel::tar {

// The parts as the archive gives them, until check() has found them good.
class SparseMap {
 public:
  explicit SparseMap(uint64_t max_extents) : max_extents_(max_extents) {}

  Result<void> add(int64_t offset, int64_t length);

  // The extents of Entry::data_extents. kInvalid when parts overlap, descend or reach past `size`,
  // or when they do not add up to the `stored` bytes that the archive has for them.
  Result<std::vector<Extent>> check(uint64_t size, uint64_t stored) const;

 private:
  uint64_t max_extents_;
  std::vector<Extent> parts_;
};

// Old GNU: adds the pairs of a header or extension block; true when another extension follows.
Result<bool> add_old_gnu_header(const Block& block, SparseMap& map);
Result<bool> add_old_gnu_extension(const Block& block, SparseMap& map);
// The file's size with its holes.
Result<int64_t> old_gnu_real_size(const Block& block);

enum class PaxSparse : uint8_t { kNot, kInRecords, kInData };
PaxSparse pax_sparse_of(const PaxRecords& records);

// PAX 0.0 and 0.1.
Result<void> add_pax_records(const PaxRecords& records, SparseMap& map);

// PAX 1.0: takes the data's blocks one by one.
class SparseMapText {
 public:
  SparseMapText(SparseMap& map, uint64_t max_size) : map_(map), max_size_(max_size) {}

  // True when the map is complete and the file's own data begins with the next block.
  Result<bool> add(const Block& block);

 private:
  Result<void> take_line(std::string_view line);

  SparseMap& map_;
  uint64_t max_size_;
  uint64_t size_ = 0;
  std::string line_;                    // begun in an earlier block
  std::optional<uint64_t> lines_left_;  // unknown until the first line has come
  std::optional<int64_t> offset_;       // of the part whose length is next
};

}  // namespace runnel::tar
