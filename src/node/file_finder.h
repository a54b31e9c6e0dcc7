// Which file of an image has a block of one of its layers.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace runnel::node {

struct DeviceBlock {
  uint16_t device = 0;  // slot, from 1
  uint64_t block = 0;

  auto operator<=>(const DeviceBlock&) const = default;
};

// The path ("/usr/bin/python3", any bytes) of a file that has each of the blocks; empty for one in
// no file. Goes once over the merged tree at `metadata_path`: half a second for 100,000 files, and
// no more than a few million inodes.
Result<std::vector<std::string>> find_files(const std::string& metadata_path,
                                            const std::vector<DeviceBlock>& blocks);

}  // namespace runnel::node
