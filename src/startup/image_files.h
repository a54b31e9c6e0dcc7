// The files of an image as a program in a container would find them: by path, through symbolic
// links.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::startup {

// Used by one thread.
class ImageFiles {
 public:
  // Reads `size` bytes of the content of a regular file, all of which lie within it.
  using Read = std::function<Result<Buffer>(uint32_t inode, uint64_t offset, uint64_t size)>;

  // Paths that are looked up, at most: some seconds.
  static constexpr uint64_t kMaxFinds = 4'000'000;

  // `tree` must outlive it; its directories' entries are in ascending order of names. Once `budget`
  // bytes have been read, read() gives nothing more, and once kMaxFinds paths have been looked up,
  // nothing is found: what cannot be looked at is not followed.
  ImageFiles(const erofs::Tree& tree, Read content, uint64_t budget);

  struct Found {
    uint32_t inode = 0;
    std::string path;  // absolute, without links, "." or ".."
  };

  // Nothing when no file is there, or it takes more than 40 links (as the kernel has it,
  // MAXSYMLINKS) or 4096 bytes to get there. A path that is not absolute starts at `base`.
  std::optional<Found> find(std::string_view path, std::string_view base = "/") const;
  std::optional<Found> find_file(std::string_view path, std::string_view base = "/") const;
  std::optional<Found> find_directory(std::string_view path, std::string_view base = "/") const;

  // In ascending order; empty unless `inode` is a directory.
  std::vector<std::string> names(uint32_t inode) const;
  uint64_t size(uint32_t inode) const { return tree_.inodes[inode].size; }

  // Up to `size` bytes from `offset` on: less at the end of the file, and nothing beyond the
  // budget.
  Result<Buffer> read(uint32_t inode, uint64_t offset, uint64_t size);

 private:
  const erofs::Tree& tree_;
  const Read content_;
  uint64_t budget_;
  mutable uint64_t finds_ = 0;
};

// "/a/b" of "/a/b/c"; "/" of "/a".
std::string directory_of(std::string_view path);
// "/a/b" of "/a" and "b".
std::string joined_path(std::string_view directory, std::string_view name);
// "c" of "/a/b/c".
std::string_view base_name(std::string_view path);

}  // namespace runnel::startup
