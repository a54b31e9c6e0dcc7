// The merged tree of an image, as the complete FUSE file system shows it: what each request about a
// file answers, out of the same EROFS metadata that the kernel's EROFS reads where it is there.
//
// Works on a mapped file; nothing of it is kept in memory. An inode is its number in the metadata.
// Thread-safe. Every call may wait for the disk.
#pragma once

#include <linux/fuse.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/reader.h"
#include "oci/digest.h"

namespace runnel::engine {

// Where a part of a file's bytes lies. Without a layer: a hole.
struct Piece {
  std::optional<size_t> layer;  // index into the tree's layers
  uint64_t device_offset = 0;
  uint64_t length = 0;
};

class ImageTree {
 public:
  // `layers` are the metadata's devices in slot order. kInvalid when they do not fit.
  static Result<std::shared_ptr<const ImageTree>> open(const std::string& metadata_path,
                                                       std::vector<oci::Digest> layers);
  ~ImageTree();
  ImageTree(const ImageTree&) = delete;
  ImageTree& operator=(const ImageTree&) = delete;

  const std::vector<oci::Digest>& layers() const { return layers_; }

  // The inode's number; 0 stands for the root.
  Result<erofs::Node> node(uint64_t inode) const;
  Result<erofs::Node> child(const erofs::Node& directory, std::string_view name) const;
  static fuse_attr attributes(const erofs::Node& node);

  Result<std::string> symlink_target(const erofs::Node& node) const;
  // kNotFound when there is no such attribute.
  Result<Buffer> xattr(const erofs::Node& node, std::string_view name) const;
  // Names with their NULs. `privileged`: those that only the superuser may see, too.
  Result<Buffer> xattr_names(const erofs::Node& node, bool privileged) const;

  struct Entry {
    std::string_view name;
    uint64_t inode = 0;
    uint8_t type = 0;   // DT_*
    uint64_t next = 0;  // the offset of what follows
  };
  // The entries of one block of the directory, from `offset` on (0, or an Entry's `next`); none at
  // the end.
  Result<std::vector<Entry>> entries(const erofs::Node& directory, uint64_t offset) const;

  // The parts of [offset, offset + length) of a regular file, cut at its end.
  Result<std::vector<Piece>> pieces(const erofs::Node& file, uint64_t offset,
                                    uint64_t length) const;

  fuse_kstatfs statfs() const;

 private:
  ImageTree(Bytes image, erofs::Reader reader, std::vector<oci::Digest> layers)
      : image_(image), reader_(std::move(reader)), layers_(std::move(layers)) {}

  const Bytes image_;  // mapped
  const erofs::Reader reader_;
  const std::vector<oci::Digest> layers_;
};

}  // namespace runnel::engine
