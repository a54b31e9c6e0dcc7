// From places on a merged image's devices back to the files that lie there.
#pragma once

#include <string>
#include <vector>

#include "convert/boot_builder.h"
#include "erofs/tree.h"

namespace runnel::convert {

// Used by one thread. `tree` must outlive it.
class FilePlaces {
 public:
  explicit FilePlaces(const erofs::Tree& tree);

  // These blocks of the device are looked for; after kMaxRanges parts of files none are.
  void want(uint16_t device, uint64_t first_block, uint64_t blocks);
  // The parts of files in them, in the order in which they were wanted and then that of the device.
  // What no name leads to any more is left out.
  std::vector<HotRange> found() const;

  static constexpr size_t kMaxRanges = 1 << 18;

 private:
  struct Place {
    uint16_t device = 0;
    uint64_t first = 0;
    uint64_t blocks = 0;
    uint64_t file_block = 0;
    uint32_t inode = 0;
  };
  struct Part {
    uint32_t inode = 0;
    uint64_t offset = 0;
    uint64_t size = 0;
  };

  const erofs::Tree& tree_;
  std::vector<Place> places_;  // by device and block
  std::vector<Part> parts_;
};

}  // namespace runnel::convert
