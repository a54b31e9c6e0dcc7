// The worker's FUSE file system. Its root has
//
//   DIGEST   one read-only file for each registered layer, named by the hex of its blob's digest:
//            what the kernel's EROFS reads its devices from
//   trial    a device whose second half cannot be read, for the trial at start (probe.h), but for
//   two
//            blocks that are given together or not at all
//   tree-N   an image's whole tree (tree_fs.h), where the kernel has no EROFS
//
// It speaks the FUSE protocol itself (linux/fuse.h), without libfuse: a worker takes over a
// connection in the middle, and libfuse would have to be told an INIT that never came.
//
// A worker's death loses nothing: descriptor and request slots are the holder's too, node IDs mean
// the same in every worker (node_table.h), and what the last worker had taken and not answered is
// got back (fuse_connection.h).
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "cache/layer.h"
#include "engine/fuse_connection.h"
#include "engine/image_tree.h"
#include "oci/digest.h"

namespace runnel::engine {

// The trial's device: bytes of one value, then errors.
inline constexpr const char* kTrialName = "trial";
inline constexpr uint64_t kTrialBlocks = 64;
inline constexpr uint64_t kTrialPresentBlocks = 32;
inline constexpr char kTrialFill = 'r';
// A read of either of these blocks alone is answered when the other is being read as well; with EIO
// when that does not come to pass in time.
inline constexpr uint64_t kTrialPair[] = {40, 50};
inline constexpr auto kTrialPairTime = std::chrono::seconds(1);

// Any thread may call any method.
class DeviceFs {
 public:
  struct Options {
    size_t threads = 2;
    Duration read_timeout = std::chrono::seconds(60);
    Recovery recovery = Recovery::kAuto;
    // Called ten times a second by the thread that keeps the deadlines.
    std::function<void()> alive = [] {};
  };

  // Takes over the connection and starts to serve. kUnsupported when the wanted recovery is not
  // there.
  static Result<std::unique_ptr<DeviceFs>> start(FuseChannel channel, const Options& options,
                                                 const Clock& clock);
  // Requests that wait are left to the next worker; nothing is read from /dev/fuse any more. Reads
  // that layers still have under way are answered when they end.
  ~DeviceFs();

  // Serves the layer from now on. kConflict when another layer has its node ID.
  Result<void> add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer);
  // Unless another object stands for it by now.
  void remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer);
  // Serves the tree as "tree-NUMBER" from now on. Its layers may be added later. A number means one
  // tree for as long as the FUSE mount lives.
  void add_tree(uint32_t number, std::shared_ptr<const ImageTree> tree);
  void remove_tree(uint32_t number);

  // All that an earlier worker served is added, as far as it is known. Until then a request for
  // what is not here waits, for its whole time at most; from now on it fails.
  void expect_no_more();

  void set_senders(Senders senders);

  Recovery recovery() const;
  const std::string& recovery_reason() const;
  ReadCounters counters() const;

 private:
  class Impl;

  explicit DeviceFs(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace runnel::engine
