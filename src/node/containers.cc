#include "node/containers.h"

#include <algorithm>
#include <map>
#include <optional>

namespace runnel::node {

namespace {

using Records = std::map<std::string, snapshot::Record>;  // by name

constexpr std::string_view kUnpackPrefix = "extract-";  // of containerd's keys for layers
constexpr const char* kReferenceLabels[] = {"containerd.io/snapshot/cri.image-ref",
                                            "containerd.io/snapshot/remote/stargz.reference"};

// containerd's metadata store names a snapshot NAMESPACE/NUMBER/KEY.
struct Key {
  std::string name_space;
  std::string key;
};
std::optional<Key> parse_key(const std::string& name) {
  const auto first = name.find('/');
  if (first == std::string::npos) return std::nullopt;
  const auto second = name.find('/', first + 1);
  if (second == std::string::npos || second + 1 == name.size()) return std::nullopt;
  return Key{.name_space = name.substr(0, first), .key = name.substr(second + 1)};
}

// The records below `record`, uppermost first.
std::vector<const snapshot::Record*> chain_below(const Records& records,
                                                 const snapshot::Record& record) {
  std::vector<const snapshot::Record*> chain;
  auto parent = records.find(record.info.parent);
  while (parent != records.end() && chain.size() < records.size()) {
    chain.push_back(&parent->second);
    parent = records.find(parent->second.info.parent);
  }
  return chain;
}

// What a committed snapshot is named for: the chain ID.
std::string chain_id_of(const snapshot::Record& record) {
  if (record.streamed()) return record.chain_id;
  const auto key = parse_key(record.info.name);
  return key ? key->key : record.info.name;
}

std::string reference_of(const std::vector<const snapshot::Record*>& chain) {
  for (const auto* record : chain) {
    for (const char* label : kReferenceLabels) {
      const auto found = record->info.labels.find(label);
      if (found != record->info.labels.end()) return found->second;
    }
  }
  return {};
}

// The image whose layers end with the chain ID; one that streams if there is such a one.
const Images::ImageStatus* find_image(const std::vector<Images::ImageStatus>& images,
                                      const std::string& chain_id) {
  const Images::ImageStatus* found = nullptr;
  for (const auto& image : images) {
    if (image.chain_ids.empty() || image.chain_ids.back() != chain_id) continue;
    if (found == nullptr || image.streamed) found = &image;
  }
  return found;
}

Verdict verdict_on(const Images::ImageStatus* image, bool streams,
                   const std::vector<Images::ImageStatus>& images, const std::string& reference) {
  if (streams) return {.reason = Reason::kStreaming, .detail = {}};
  // An image that was left alone is known by its reference only.
  const auto left = std::ranges::find(images, reference, &Images::ImageStatus::name);
  if (image == nullptr && left != images.end()) return left->verdict;
  if (image == nullptr) {
    return {.reason = Reason::kAlreadyUnpacked,
            .detail = "its layers were here, or were unpacked before this worker started"};
  }
  if (!image->streamed) return image->verdict;
  return {.reason = Reason::kAlreadyUnpacked,
          .detail = "its layers were unpacked the ordinary way before the image could stream"};
}

}  // namespace

Result<std::vector<ContainerStatus>> list_containers(const snapshot::Store& store,
                                                     const Images& images,
                                                     const engine::Engine& engine) {
  RUNNEL_TRY(auto list, store.list());
  Records records;
  for (auto& record : list) records[record.info.name] = std::move(record);
  const auto known = images.status();
  const auto mounted = engine.served_layers();
  const std::string way = to_string(engine.status().way);

  std::vector<ContainerStatus> containers;
  for (const auto& [name, record] : records) {
    const auto key = parse_key(name);
    const bool container =
        record.info.kind == snapshot::Kind::kActive && key && !key->key.starts_with(kUnpackPrefix);
    if (!container) continue;
    const auto chain = chain_below(records, record);
    const auto streamed =
        std::ranges::find_if(chain, [](const auto* at) { return at->streamed(); });
    const auto* image = chain.empty() ? nullptr : find_image(known, chain_id_of(*chain[0]));
    ContainerStatus status{.id = key->key,
                           .name_space = key->name_space,
                           .image = image == nullptr ? "" : image->name,
                           .reference = reference_of(chain),
                           .verdict = {},
                           .engine = streamed == chain.end() ? "overlayfs" : way,
                           .layers = chain.size(),
                           .streamed_layers = static_cast<size_t>(chain.end() - streamed)};
    status.verdict = verdict_on(image, streamed != chain.end(), known, status.reference);
    if (streamed != chain.end()) {
      if (image != nullptr) status.fetched = image->boot_bytes;
      for (const auto& layer : images.layers_of((*streamed)->chain_id, mounted)) {
        status.bytes += layer.bytes;
        status.present += layer.present;
        status.fetched += layer.fetched;
      }
    }
    containers.push_back(std::move(status));
  }
  return containers;
}

}  // namespace runnel::node
