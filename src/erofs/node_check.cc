#include "erofs/node_check.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

namespace runnel::erofs {
namespace {

bool all_zero(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

template <class... Args>
std::unexpected<Error> bad(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  return fail(Code::kInvalid, "erofs: inode {}: {}", node.nid,
              fmt::format(format, std::forward<Args>(args)...));
}

Result<void> check_fields(const Reader& reader, const Node& node) {
  const uint64_t at = reader.inode_at(node.nid);
  RUNNEL_TRY(const Bytes raw, reader.bytes(at, kInodeSize));
  std::byte canonical[kInodeSize];
  store_inode(canonical, node.disk);
  if (std::memcmp(raw.data(), canonical, kInodeSize) != 0)
    return bad(node, "reserved bytes are set");
  if (at % kBlockSize + kInodeSize > kBlockSize) return bad(node, "straddles two blocks");
  if (dirent_type(node.disk.mode) == 0) return bad(node, "mode {:o}", node.disk.mode);
  if (node.disk.nlink == 0) return bad(node, "has no links");
  if (node.disk.mtime_ns >= 1'000'000'000) {
    return bad(node, "mtime has {} nanoseconds", node.disk.mtime_ns);
  }
  return {};
}

// A directory or symlink: flat, and the block behind its end is zero.
Result<Footprint> check_content(const Reader& reader, const Node& node) {
  const uint64_t size = node.disk.size;
  if (node.layout == Layout::kChunkBased || size == 0) {
    return bad(node, "layout {} with {} bytes", static_cast<int>(node.layout), size);
  }
  const uint64_t blocks = div_up(size, kBlockSize);
  RUNNEL_TRY(const Bytes last, reader.content_block(node, blocks - 1));
  if (node.layout == Layout::kFlatInline) {
    const uint64_t inline_size = kInodeSize + node.xattr_size + last.size();
    const uint64_t whole = blocks - 1;
    // The kernel reads a symlink's target with the block of the inode only.
    if (reader.inode_at(node.nid) % kBlockSize + inline_size > kBlockSize) {
      return bad(node, "its inline data is in another block");
    }
    if (whole == 0 && node.disk.what != 0) return bad(node, "names a block and needs none");
    if (whole > 0) RUNNEL_DO(reader.content_block(node, 0));
    return Footprint{.inline_size = inline_size, .block = node.disk.what, .blocks = whole};
  }
  RUNNEL_TRY(const Bytes whole_block,
             reader.bytes((node.disk.what + blocks - 1) * kBlockSize, kBlockSize));
  if (!all_zero(whole_block.subspan(last.size()))) return bad(node, "bytes past its end are set");
  return Footprint{
      .inline_size = kInodeSize + node.xattr_size, .block = node.disk.what, .blocks = blocks};
}

Result<Footprint> check_symlink(const Reader& reader, const Node& node) {
  RUNNEL_TRY(const std::string target, reader.symlink_target(node));
  if (target.find('\0') != std::string::npos) return bad(node, "symlink target has a NUL");
  return check_content(reader, node);
}

Result<Footprint> check_file(const Reader& reader, const Node& node) {
  const uint64_t body = kInodeSize + node.xattr_size;
  if (node.disk.size == 0) {
    if (node.layout != Layout::kFlatPlain || node.disk.what != 0) {
      return bad(node, "is an empty file of layout {}", static_cast<int>(node.layout));
    }
    return Footprint{.inline_size = body};
  }
  if (node.disk.size > kMaxFileSize) return bad(node, "file of {} bytes", node.disk.size);
  uint64_t device_blocks = 0;
  // The addresses lie within their devices.
  RUNNEL_DO(reader.for_each_chunk(node, [&](const Extent& each) { device_blocks += each.blocks; }));
  RUNNEL_TRY(const Bytes indexes, reader.chunk_indexes(node));
  for (uint64_t at = 0; at < indexes.size(); at += kChunkIndexSize) {
    const bool hole = load_le<uint32_t>(indexes.data() + at + 4) == kHole;
    if (load_le<uint16_t>(indexes.data() + at) != 0 ||
        (hole && load_le<uint16_t>(indexes.data() + at + 2) != 0)) {
      return bad(node, "reserved bytes of chunk {} are set", at / kChunkIndexSize);
    }
  }
  const uint64_t inline_size = round_up(body, kChunkIndexSize) + indexes.size();
  return Footprint{.inline_size = inline_size, .device_blocks = device_blocks};
}

Result<Footprint> check_special(const Node& node) {
  const bool device = S_ISCHR(node.disk.mode) || S_ISBLK(node.disk.mode);
  if (node.layout != Layout::kFlatPlain || node.disk.size != 0 ||
      (!device && node.disk.what != 0)) {
    return bad(node, "mode {:o} with layout {} and {} bytes", node.disk.mode,
               static_cast<int>(node.layout), node.disk.size);
  }
  return Footprint{.inline_size = kInodeSize + node.xattr_size};
}

}  // namespace

Result<Footprint> check_node(const Reader& reader, XattrCheck& xattrs, const Node& node) {
  RUNNEL_DO(check_fields(reader, node));
  const auto right = xattrs.check(node);
  if (!right) return bad(node, "{}", right.error().message);
  if (node.is_directory()) return check_content(reader, node);
  if (node.is_symlink()) return check_symlink(reader, node);
  if (node.is_regular()) return check_file(reader, node);
  return check_special(node);
}

}  // namespace runnel::erofs
