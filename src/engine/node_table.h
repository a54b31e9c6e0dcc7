// What the FUSE file system serves, by node ID, and who waits for what is not there yet.
//
// Node IDs must mean the same in every worker of a holder, because the kernel remembers them:
//
//   1                     the root
//   2                     the trial's device file (probe.h)
//   bit 63 clear          a layer's device file: 63 bits of its digest (3 and up)
//   bit 63 set            a tree's file: bits 62-32 the tree's number, bits 31-0 the inode in it.
//                         Numbers are never used twice, or the kernel would show what it remembers
//                         of an earlier tree's file; inode 0 means the tree's root, whichever it is
//
// Any thread may call any method.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "cache/layer.h"
#include "engine/fuse_connection.h"
#include "engine/image_tree.h"
#include "oci/digest.h"

namespace runnel::engine {

inline constexpr uint64_t kTrialNode = 2;
uint64_t layer_node(std::string_view hex);
inline constexpr uint64_t kTreeBit = uint64_t{1} << 63;
inline constexpr uint32_t kMaxTreeNumber = 0x7fffffff;
constexpr uint64_t tree_node(uint32_t number, uint64_t inode) {
  return kTreeBit | uint64_t{number} << 32 | inode;
}
constexpr bool is_tree_node(uint64_t node) {
  return (node & kTreeBit) != 0;
}
constexpr uint64_t root_of(uint64_t node) {
  return node & ~uint64_t{0xffffffff};
}
// "tree-N", as it is called in the root.
std::string tree_name(uint32_t number);

struct LayerFile {
  std::string name;
  std::shared_ptr<cache::Layer> layer;
};

// The layer as something that a read waits for. Does not keep it: what was never answered stands in
// the connection longer than the cache.
inline Supplier supplier(uint64_t node, const std::shared_ptr<const LayerFile>& file) {
  return {.layer = node,
          .name = file->name,
          .signs = [layer = std::weak_ptr<const cache::Layer>(file->layer)] {
            const auto there = layer.lock();
            return there ? there->signs() : cache::SourceSigns();
          }};
}

class NodeTable {
 public:
  // Until expect_no_more() a node that is not here may still come: an earlier worker served it, and
  // this one is about to.
  explicit NodeTable(std::shared_ptr<FuseConnection> connection)
      : connection_(std::move(connection)) {}

  // kConflict when another layer has its node ID (63 bits of the digest: somebody made that happen
  // on purpose).
  Result<void> add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer);
  // Unless another object stands for it by now.
  void remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer);
  void add(uint32_t number, std::shared_ptr<const ImageTree> tree);
  void remove(uint32_t number);

  // All that earlier workers served is added. For what is not, the requests that wait are tried
  // once more, and there is no hope any longer.
  void expect_no_more();

  // Null when it is not here.
  std::shared_ptr<const LayerFile> layer(uint64_t node) const;
  std::shared_ptr<const ImageTree> tree(uint64_t root) const;

  // Keeps a request that did not find `node` (a layer's, or a tree's root) until that is added, or
  // its time is over; was it added meanwhile, `retry` is called now. False when there is no hope.
  bool wait_for(Ticket ticket, uint64_t node, std::function<void()> retry);

 private:
  bool contains_locked(uint64_t node) const {
    return is_tree_node(node) ? trees_.contains(node) : layers_.contains(node);
  }
  void retry(uint64_t node);

  const std::shared_ptr<FuseConnection> connection_;

  mutable std::mutex mutex_;
  bool expects_more_ = true;
  std::map<uint64_t, std::shared_ptr<const LayerFile>> layers_;
  std::map<uint64_t, std::shared_ptr<const ImageTree>> trees_;
};

}  // namespace runnel::engine
