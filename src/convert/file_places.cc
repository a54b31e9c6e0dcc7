#include "convert/file_places.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace runnel::convert {

FilePlaces::FilePlaces(const erofs::Tree& tree) : tree_(tree) {
  for (uint32_t i = 0; i < tree.inodes.size(); ++i) {
    if (!S_ISREG(tree.inodes[i].mode)) continue;
    for (const auto& extent : tree.inodes[i].extents)
      places_.push_back({.device = extent.device,
                         .first = extent.device_block,
                         .blocks = extent.blocks,
                         .file_block = extent.file_block,
                         .inode = i});
  }
  std::ranges::sort(places_, {}, [](const Place& each) {
    return std::tuple(each.device, each.first, each.inode);
  });
}

void FilePlaces::want(uint16_t device, uint64_t first_block, uint64_t blocks) {
  const auto end = first_block + blocks;
  // Extents of a device do not overlap, but for files that share all of theirs: the first one that
  // ends behind the start is the first one that counts.
  auto at = std::ranges::partition_point(places_, [&](const Place& each) {
    return std::tuple(each.device, each.first + each.blocks) <= std::tuple(device, first_block);
  });
  for (; at != places_.end() && at->device == device && at->first < end; ++at) {
    if (parts_.size() == kMaxRanges) return;
    const auto from = std::max(at->first, first_block);
    const auto to = std::min(at->first + at->blocks, end);
    const auto offset = (at->file_block + (from - at->first)) * erofs::kBlockSize;
    const auto size = tree_.inodes[at->inode].size;
    if (offset >= size) continue;
    parts_.push_back({.inode = at->inode,
                      .offset = offset,
                      .size = std::min((to - from) * erofs::kBlockSize, size - offset)});
  }
}

std::vector<HotRange> FilePlaces::found() const {
  std::map<uint32_t, std::string> paths;
  for (const auto& part : parts_) paths.emplace(part.inode, std::string());
  // A walk with names only where they are wanted would need parents: the tree has none.
  struct Open {
    uint32_t inode;
    size_t entry;
    size_t path_size;
  };
  std::vector<Open> open = {{.inode = 0, .entry = 0, .path_size = 0}};
  std::string path;
  while (!open.empty()) {
    auto& [inode, entry, path_size] = open.back();
    path.resize(path_size);
    const auto& entries = tree_.inodes[inode].entries;
    if (entry == entries.size()) {
      open.pop_back();
      continue;
    }
    const auto& next = entries[entry++];
    path += '/';
    path += next.name;
    if (const auto wanted = paths.find(next.inode); wanted != paths.end() && wanted->second.empty())
      wanted->second = path;
    if (S_ISDIR(tree_.inodes[next.inode].mode) && open.size() < erofs::kMaxDepth)
      open.push_back({.inode = next.inode, .entry = 0, .path_size = path.size()});
  }
  std::vector<HotRange> out;
  for (const auto& part : parts_)
    if (const auto& name = paths.at(part.inode); !name.empty())
      out.push_back({.path = name, .offset = part.offset, .size = part.size});
  return out;
}

}  // namespace runnel::convert
