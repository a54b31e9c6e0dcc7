// The trial at start: which ways of mounting this kernel can do without showing a wrong byte.
//
// A small EROFS image is mounted each way, with a device file that ends too early. What is there
// must read right, and what is not there must give EIO: kernels without the fix for short reads
// show zeros instead. The trial decides, not the version number.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "engine/way.h"

namespace runnel::engine {

struct ProbeResult {
  Way way = Way::kAuto;
  bool ok = false;
  std::string reason;  // what was found, for a person
};

// Tries every way (never kAuto). `directory` is for the trial's files (300 KiB), which stay for the
// next trial, and mounts, which do not. Takes some milliseconds.
std::vector<ProbeResult> probe_ways(const std::string& directory);

// What `wanted` means after the trial: itself, or for kAuto the first way that works. kUnsupported,
// with the reasons, when that is none.
Result<Way> choose_way(Way wanted, const std::vector<ProbeResult>& results);

}  // namespace runnel::engine
