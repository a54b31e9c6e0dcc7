#include "engine/node_table.h"

#include <fmt/format.h>

namespace runnel::engine {

uint64_t layer_node(std::string_view hex) {
  uint64_t node = 0;
  for (const char c : hex.substr(0, 16)) {
    node = node << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  node &= ~kTreeBit;
  return node <= kTrialNode ? node + kTrialNode + 1 : node;
}

std::string tree_name(uint32_t number) {
  return fmt::format("tree-{}", number);
}

Result<void> NodeTable::add(const oci::Digest& digest, std::shared_ptr<cache::Layer> layer) {
  const std::string name(digest.hex());
  const uint64_t node = layer_node(name);
  {
    const std::lock_guard lock(mutex_);
    auto& file = layers_[node];
    if (file && file->name != name) {
      return fail(Code::kConflict, "layers {} and {} have the same node ID", file->name, name);
    }
    file = std::make_shared<LayerFile>(LayerFile{.name = name, .layer = std::move(layer)});
  }
  retry(node);
  return {};
}

void NodeTable::remove(const oci::Digest& digest, const std::shared_ptr<cache::Layer>& layer) {
  const std::lock_guard lock(mutex_);
  const auto at = layers_.find(layer_node(digest.hex()));
  if (at != layers_.end() && at->second->layer == layer) layers_.erase(at);
}

void NodeTable::add(uint32_t number, std::shared_ptr<const ImageTree> tree) {
  const uint64_t root = tree_node(number, 0);
  {
    const std::lock_guard lock(mutex_);
    trees_[root] = std::move(tree);
  }
  retry(root);
}

void NodeTable::remove(uint32_t number) {
  const std::lock_guard lock(mutex_);
  trees_.erase(tree_node(number, 0));
}

void NodeTable::expect_no_more() {
  {
    const std::lock_guard lock(mutex_);
    expects_more_ = false;
  }
  for (const auto& retry : connection_->take_all_retries()) retry();
}

void NodeTable::retry(uint64_t node) {
  for (const auto& retry : connection_->take_retries(node)) retry();
}

std::shared_ptr<const LayerFile> NodeTable::layer(uint64_t node) const {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(node);
  return found == layers_.end() ? nullptr : found->second;
}

std::shared_ptr<const ImageTree> NodeTable::tree(uint64_t root) const {
  const std::lock_guard lock(mutex_);
  const auto found = trees_.find(root);
  return found == trees_.end() ? nullptr : found->second;
}

bool NodeTable::wait_for(Ticket ticket, uint64_t node, std::function<void()> retry) {
  {
    const std::lock_guard lock(mutex_);  // so that add() comes before or sees it
    if (!contains_locked(node)) {
      if (!expects_more_) return false;
      connection_->keep(ticket, {.deadline = connection_->due(ticket),
                                 .retry = std::move(retry),
                                 .range = {.node = node}});
      return true;
    }
  }
  retry();
  return true;
}

}  // namespace runnel::engine
