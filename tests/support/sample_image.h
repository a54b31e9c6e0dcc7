// An image's files for tests: a merged tree by paths, its contents beside it.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "erofs/tree.h"
#include "startup/image_files.h"

namespace runnel::test {

class SampleImage {
 public:
  SampleImage() {
    tree.inodes.resize(1);
    tree.inodes[0].mode = S_IFDIR | 0755;
  }

  SampleImage& file(const std::string& path, std::string content = "x") {
    const auto inode = add(path, S_IFREG | 0644);
    tree.inodes[inode].size = content.size();
    contents[inode] = std::move(content);
    return *this;
  }
  SampleImage& link(const std::string& path, const std::string& target) {
    tree.inodes[add(path, S_IFLNK | 0777)].symlink_target = target;
    return *this;
  }
  SampleImage& directory(const std::string& path) {
    add(path, S_IFDIR | 0755);
    return *this;
  }

  startup::ImageFiles files(uint64_t budget = 1 << 30) {
    return {tree,
            [this](uint32_t inode, uint64_t offset, uint64_t size) -> Result<Buffer> {
              const auto part = as_bytes(contents.at(inode)).subspan(offset, size);
              return Buffer(part.begin(), part.end());
            },
            budget};
  }

  // "/usr/bin/x" of a file's inode.
  std::string path_of(uint32_t inode) const { return paths.at(inode); }

  erofs::Tree tree;
  std::map<uint32_t, std::string> contents;
  std::map<uint32_t, std::string> paths;

 private:
  uint32_t add(const std::string& path, uint16_t mode) {
    const auto slash = path.rfind('/');
    const uint32_t parent = slash == 0 ? 0 : directory_at(path.substr(0, slash));
    const auto inode = static_cast<uint32_t>(tree.inodes.size());
    tree.inodes.emplace_back().mode = mode;
    paths[inode] = path;
    auto& entries = tree.inodes[parent].entries;
    const auto name = path.substr(slash + 1);
    const auto place = std::ranges::lower_bound(entries, name, {}, &erofs::DirEntry::name);
    entries.insert(place, {.name = name, .inode = inode});
    return inode;
  }

  uint32_t directory_at(const std::string& path) {
    for (const auto& [inode, known] : paths)
      if (known == path) return inode;
    return add(path, S_IFDIR | 0755);
  }
};

}  // namespace runnel::test
