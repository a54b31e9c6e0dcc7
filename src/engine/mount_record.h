// What a mount was made of, as it is kept beside it in ROOT/mounts/NAME.json: the next worker reads
// there which layers it needs, and what it has to serve.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::engine {

struct MountRecord {
  std::string fuse_device;  // empty: every device was a plain file
  std::vector<oci::Digest> layers;
  std::vector<oci::Digest> served;  // of those, through the FUSE connection
  bool parallel_loops = false;      // those are read by loop devices that do not wait
  std::vector<std::string> loops;   // of each layer ("loop7"); empty: there are none, or not known
  uint32_t tree = 0;                // its number, when it is a tree on the FUSE mount
  std::string metadata;             // a tree's

  bool operator==(const MountRecord&) const = default;
};

std::string to_json(const MountRecord& record);

// kInvalid for what to_json() of no version wrote.
Result<MountRecord> parse_mount_record(Bytes json);

}  // namespace runnel::engine
