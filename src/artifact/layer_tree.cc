#include "artifact/layer_tree.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/quote.h"

namespace runnel::artifact {

namespace {

constexpr std::string_view kMagic{"RNLTREE\0", 8};
constexpr uint32_t kVersion = 1;
constexpr size_t kMinInodeSize = 8;  // a FIFO of root's
constexpr size_t kMinEntrySize = 3;
constexpr size_t kMinExtentSize = 3;

// What the parts of a tree take of memory: here, in the tree that a merge makes of it, and in the
// tables of the merge and of the image's writer.
constexpr uint64_t kInodeMemory = 2 * sizeof(erofs::Inode) + 96;
constexpr uint64_t kEntryMemory = 2 * sizeof(erofs::DirEntry) + 160;
constexpr uint64_t kXattrMemory = 2 * sizeof(std::pair<std::string, Buffer>) + 128;
constexpr uint64_t kTextCopies = 2;
constexpr uint64_t kXattrCopies = 3;

uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

void write_text(ByteWriter& out, std::string_view text) {
  out.varint(text.size());
  out.bytes(as_bytes(text));
}

template <class Pairs>
Pairs sorted(Pairs pairs) {
  std::ranges::sort(pairs);
  return pairs;
}

std::vector<erofs::DirEntry> sorted_entries(const erofs::Inode& directory) {
  auto entries = directory.entries;
  std::ranges::sort(entries, {}, &erofs::DirEntry::name);
  return entries;
}

// Gives each inode that the root reaches its number: preorder, names ascending.
class Numbering {
 public:
  explicit Numbering(const LayerTree& tree) : number_(tree.inodes.size(), 0) {
    std::vector<uint32_t> stack;
    push_children(tree, 0, stack);
    order_.push_back(0);
    while (!stack.empty()) {
      const uint32_t inode = stack.back();
      stack.pop_back();
      if (number_[inode] != 0) continue;
      number_[inode] = static_cast<uint32_t>(order_.size());
      order_.push_back(inode);
      push_children(tree, inode, stack);
    }
  }

  uint32_t of(uint32_t inode) const { return number_[inode]; }
  const std::vector<uint32_t>& order() const { return order_; }

 private:
  static void push_children(const LayerTree& tree, uint32_t inode, std::vector<uint32_t>& stack) {
    const auto entries = sorted_entries(tree.inodes[inode]);
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
      if (entry->inode != kWhiteout) stack.push_back(entry->inode);
    }
  }

  std::vector<uint32_t> number_;
  std::vector<uint32_t> order_;
};

void write_content(ByteWriter& out, const erofs::Inode& inode, const Numbering& numbering) {
  switch (inode.mode & S_IFMT) {
    case S_IFREG:
      out.varint(inode.size);
      out.varint(inode.extents.size());
      for (const auto& extent : inode.extents) {
        out.varint(extent.file_block);
        out.varint(extent.device_block);
        out.varint(extent.blocks);
      }
      return;
    case S_IFLNK: write_text(out, inode.symlink_target); return;
    case S_IFCHR:
    case S_IFBLK: out.varint(inode.rdev); return;
    case S_IFDIR:
      out.varint(inode.entries.size());
      for (const auto& entry : sorted_entries(inode)) {
        write_text(out, entry.name);
        out.varint(numbering.of(entry.inode));
      }
      return;
    default: return;
  }
}

void write_inode(ByteWriter& out, const erofs::Inode& inode, uint8_t flags,
                 const Numbering& numbering) {
  out.u8(flags);
  out.u16(inode.mode);
  out.varint(inode.uid);
  out.varint(inode.gid);
  out.varint(zigzag(inode.mtime_s));
  out.varint(inode.mtime_ns);
  out.varint(inode.xattrs.size());
  for (const auto& [name, value] : sorted(inode.xattrs)) {
    write_text(out, name);
    out.varint(value.size());
    out.bytes(value);
  }
  write_content(out, inode, numbering);
}

// Reads one tree. Members are what the checks of one inode need to know of the others.
class Parser {
 public:
  Parser(Bytes bytes, uint64_t device_blocks, const TreeLimits& limits)
      : reader_(bytes, "layer tree"), device_blocks_(device_blocks), limits_(limits) {}

  Result<LayerTree> parse() {
    RUNNEL_DO(header());
    for (uint32_t i = 0; i < count_; ++i) {
      if (auto read = inode(i); !read) {
        return std::unexpected(read.error().in(fmt::format("inode {}", i)));
      }
    }
    if (!reader_.at_end()) return fail(Code::kInvalid, "layer tree: bytes after the last inode");
    RUNNEL_DO(names());
    return std::move(tree_);
  }

 private:
  Result<void> header() {
    RUNNEL_TRY(const Bytes magic, reader_.bytes(kMagic.size()));
    if (as_text(magic) != kMagic) return fail(Code::kInvalid, "layer tree: wrong magic");
    RUNNEL_TRY(const uint32_t version, reader_.u32());
    if (version != kVersion) {
      return fail(Code::kUnsupported, "layer tree: version {}, this program reads {}", version,
                  kVersion);
    }
    RUNNEL_TRY(count_, reader_.u32());
    if (count_ == 0 || count_ > limits_.max_inodes ||
        count_ > reader_.remaining() / kMinInodeSize) {
      return fail(Code::kInvalid, "layer tree: {} inodes", count_);
    }
    RUNNEL_DO(hold(count_ * kInodeMemory));
    tree_.inodes.reserve(count_);
    tree_.flags.reserve(count_);
    return {};
  }

  Result<void> inode(uint32_t number) {
    erofs::Inode out;
    RUNNEL_TRY(const uint8_t flags, reader_.u8());
    RUNNEL_TRY(out.mode, reader_.u16());
    RUNNEL_TRY(out.uid, narrow(UINT32_MAX));
    RUNNEL_TRY(out.gid, narrow(UINT32_MAX));
    RUNNEL_TRY(const uint64_t mtime, reader_.varint());
    out.mtime_s = unzigzag(mtime);
    RUNNEL_TRY(out.mtime_ns, narrow(999'999'999));
    RUNNEL_DO(xattrs(out));
    const bool directory = S_ISDIR(out.mode);
    if ((number == 0) && !directory) return fail(Code::kInvalid, "the root is no directory");
    if ((flags & ~(kOpaque | kImplied)) != 0 || (flags != 0 && !directory)) {
      return fail(Code::kInvalid, "flags {:#x} on mode {:#o}", flags, out.mode);
    }
    RUNNEL_DO(content(out, number));
    tree_.inodes.push_back(std::move(out));
    tree_.flags.push_back(flags);
    return {};
  }

  Result<void> content(erofs::Inode& out, uint32_t number) {
    switch (out.mode & S_IFMT) {
      case S_IFREG: return file(out);
      case S_IFLNK: {
        RUNNEL_TRY(out.symlink_target, text(1, erofs::kMaxSymlinkSize));
        return {};
      }
      case S_IFCHR:
      case S_IFBLK: {
        RUNNEL_TRY(out.rdev, narrow(UINT32_MAX));
        return {};
      }
      case S_IFIFO:
      case S_IFSOCK: return {};
      case S_IFDIR: return directory(out, number);
      default: return fail(Code::kInvalid, "mode {:#o}", out.mode);
    }
  }

  Result<void> file(erofs::Inode& out) {
    RUNNEL_TRY(out.size, reader_.varint());
    if (out.size > erofs::kMaxFileSize) return fail(Code::kInvalid, "{} bytes", out.size);
    const uint64_t file_blocks = div_up(out.size, erofs::kBlockSize);
    RUNNEL_TRY(const uint64_t count, reader_.varint());
    if (count > reader_.remaining() / kMinExtentSize) {
      return fail(Code::kInvalid, "{} extents", count);
    }
    RUNNEL_DO(hold(count * sizeof(erofs::Extent)));
    out.extents.reserve(count);
    uint64_t next_block = 0;
    for (uint64_t i = 0; i < count; ++i) {
      erofs::Extent extent;
      RUNNEL_TRY(extent.file_block, reader_.varint());
      RUNNEL_TRY(extent.device_block, reader_.varint());
      RUNNEL_TRY(extent.blocks, reader_.varint());
      if (extent.blocks == 0 || extent.file_block < next_block ||
          extent.file_block >= file_blocks || extent.blocks > file_blocks - extent.file_block ||
          extent.device_block >= device_blocks_ ||
          extent.blocks > device_blocks_ - extent.device_block) {
        return fail(Code::kInvalid, "extent {} ({} blocks at {}, device block {}) is out of bounds",
                    i, extent.blocks, extent.file_block, extent.device_block);
      }
      next_block = extent.file_block + extent.blocks;
      out.extents.push_back(extent);
    }
    return {};
  }

  Result<void> directory(erofs::Inode& out, uint32_t number) {
    RUNNEL_TRY(const uint64_t count, reader_.varint());
    if (count > reader_.remaining() / kMinEntrySize) {
      return fail(Code::kInvalid, "{} entries", count);
    }
    RUNNEL_DO(hold(count * kEntryMemory));
    out.entries.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      erofs::DirEntry entry;
      RUNNEL_TRY(entry.name, text(1, erofs::kMaxNameSize));
      RUNNEL_TRY(entry.inode, narrow(count_ - 1));
      if (entry.name == "." || entry.name == ".." ||
          entry.name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
        return fail(Code::kInvalid, "entry {} has a forbidden name", i);
      }
      if (!out.entries.empty() && out.entries.back().name >= entry.name) {
        return fail(Code::kInvalid, "entry {} is out of order", i);
      }
      out.entries.push_back(std::move(entry));
    }
    out.parent = number;
    return {};
  }

  Result<void> xattrs(erofs::Inode& out) {
    RUNNEL_TRY(const uint64_t count, reader_.varint());
    if (count > limits_.max_xattrs) return fail(Code::kInvalid, "{} xattrs", count);
    for (uint64_t i = 0; i < count; ++i) {
      RUNNEL_TRY(std::string name, text(1, 255));
      RUNNEL_TRY(const uint64_t size, reader_.varint());
      if (size > erofs::kMaxXattrValueSize) return fail(Code::kInvalid, "xattr of {} bytes", size);
      RUNNEL_TRY(const Bytes value, reader_.bytes(size));
      RUNNEL_DO(hold(kXattrMemory + kXattrCopies * size));
      if (name.starts_with("trusted.")) {
        return fail(Code::kInvalid, "xattr {} would be obeyed by overlayfs", quote(name));
      }
      if (!out.xattrs.empty() && out.xattrs.back().first >= name) {
        return fail(Code::kInvalid, "xattr {} is out of order", i);
      }
      out.xattrs.emplace_back(std::move(name), Buffer(value.begin(), value.end()));
    }
    return {};
  }

  // Every inode is named, directories once and by an earlier inode, and none lies too deep.
  Result<void> names() {
    std::vector<uint32_t> depth(count_, 0);
    std::vector<bool> named(count_, false);
    for (uint32_t i = 0; i < count_; ++i) {
      for (const auto& entry : tree_.inodes[i].entries) {
        if (entry.inode == kWhiteout) continue;
        auto& child = tree_.inodes[entry.inode];
        if (S_ISDIR(child.mode)) {
          if (entry.inode <= i || named[entry.inode]) {
            return fail(Code::kInvalid, "layer tree: directory {} is named twice or out of order",
                        entry.inode);
          }
          child.parent = i;
          depth[entry.inode] = depth[i] + 1;
          if (depth[entry.inode] > limits_.max_depth) {
            return fail(Code::kInvalid, "layer tree: deeper than {}", limits_.max_depth);
          }
        }
        named[entry.inode] = true;
      }
    }
    for (uint32_t i = 1; i < count_; ++i) {
      if (!named[i]) return fail(Code::kInvalid, "layer tree: inode {} has no name", i);
    }
    return {};
  }

  Result<uint32_t> narrow(uint32_t max) {
    RUNNEL_TRY(const uint64_t value, reader_.varint());
    if (value > max) return fail(Code::kInvalid, "{} where at most {} is allowed", value, max);
    return static_cast<uint32_t>(value);
  }

  Result<std::string> text(uint64_t min, uint64_t max) {
    RUNNEL_TRY(const uint64_t size, reader_.varint());
    if (size < min || size > max) return fail(Code::kInvalid, "a name of {} bytes", size);
    RUNNEL_TRY(const Bytes bytes, reader_.bytes(size));
    RUNNEL_DO(hold(kTextCopies * size));
    return std::string(as_text(bytes));
  }

  // Before as much memory is taken.
  Result<void> hold(uint64_t bytes) {
    tree_.memory += bytes;
    if (tree_.memory <= limits_.max_memory) return {};
    return fail(Code::kExhausted, "layer tree: takes more than {} bytes of memory",
                limits_.max_memory);
  }

  ByteReader reader_;
  const uint64_t device_blocks_;
  const TreeLimits& limits_;
  uint32_t count_ = 0;
  LayerTree tree_;
};

}  // namespace

Buffer serialize(const LayerTree& tree) {
  const Numbering numbering(tree);
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(static_cast<uint32_t>(numbering.order().size()));
  for (const uint32_t inode : numbering.order()) {
    write_inode(out, tree.inodes[inode], tree.flags[inode], numbering);
  }
  return out.take();
}

Result<LayerTree> parse_layer_tree(Bytes bytes, uint64_t device_blocks, const TreeLimits& limits) {
  if (bytes.size() > limits.max_bytes) {
    return fail(Code::kExhausted, "layer tree: {} bytes, limit {}", bytes.size(), limits.max_bytes);
  }
  return Parser(bytes, device_blocks, limits).parse();
}

}  // namespace runnel::artifact
