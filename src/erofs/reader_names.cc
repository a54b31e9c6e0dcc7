// The parts of Reader that are about names: directories, paths, xattrs.
#include <algorithm>

#include "base/quote.h"
#include "erofs/reader.h"
#include "erofs/xattr_entry.h"

namespace runnel::erofs {
namespace {

constexpr int kMaxSymlinks = 40;  // as the kernel

Result<uint64_t> directory_blocks(const Node& directory) {
  if (!directory.is_directory()) {
    return fail(Code::kInvalid, "erofs: inode {} is no directory", directory.nid);
  }
  return div_up(directory.disk.size, kBlockSize);
}

}  // namespace

Result<std::vector<Dirent>> Reader::entries(const Node& directory) const {
  RUNNEL_TRY(const uint64_t blocks, directory_blocks(directory));
  std::vector<Dirent> entries;
  for (uint64_t i = 0; i < blocks; ++i) {
    RUNNEL_TRY(const Bytes block, content_block(directory, i));
    RUNNEL_DO(load_directory_block(block, entries));
  }
  return entries;
}

Result<Dirent> Reader::lookup(const Node& directory, std::string_view name) const {
  RUNNEL_TRY(const uint64_t blocks, directory_blocks(directory));
  std::vector<Dirent> entries;
  uint64_t from = 0;
  uint64_t to = blocks;
  while (from < to) {
    const uint64_t middle = from + (to - from) / 2;
    entries.clear();
    RUNNEL_TRY(const Bytes block, content_block(directory, middle));
    RUNNEL_DO(load_directory_block(block, entries));
    if (name < entries.front().name) {
      to = middle;
    } else if (name > entries.back().name) {
      from = middle + 1;
    } else {
      const auto at = std::ranges::lower_bound(entries, name, {}, &Dirent::name);
      if (at != entries.end() && at->name == name) return *at;
      break;
    }
  }
  return fail(Code::kNotFound, "{} does not exist", quote(name));
}

Result<Node> Reader::resolve(std::string_view path, bool follow_last) const {
  std::string rest(path);
  int symlinks = 0;
  RUNNEL_TRY(const Node root_node, node(root()));
  Node at = root_node;

  while (true) {
    rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
    if (rest.empty()) return at;
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string name = rest.substr(0, end);
    const bool last = rest.find_first_not_of('/', end) == std::string::npos;
    if (!at.is_directory()) {
      return fail(Code::kNotFound, "{}: {} is looked for in a file that is no directory",
                  quote(path), quote(name));
    }
    const auto entry = lookup(at, name);
    if (!entry) return std::unexpected(entry.error().in(quote(path)));
    RUNNEL_TRY(const Node next, node(entry->nid));
    rest.erase(0, end);
    if (!next.is_symlink() || (last && !follow_last)) {
      at = next;
      continue;
    }

    if (++symlinks > kMaxSymlinks) {
      return fail(Code::kInvalid, "{} goes through more than {} symbolic links", quote(path),
                  kMaxSymlinks);
    }
    RUNNEL_TRY(std::string target, symlink_target(next));
    if (target.starts_with('/')) at = root_node;
    target += rest;
    rest = std::move(target);
  }
}

Result<std::vector<XattrView>> Reader::xattrs(const Node& node) const {
  std::vector<XattrView> xattrs;
  if (node.xattr_size == 0) return xattrs;
  RUNNEL_TRY(Bytes body, bytes(inode_at(node.nid) + kInodeSize, node.xattr_size));
  const auto invalid = [&](const Error& error) {
    return std::unexpected(error.in(fmt::format("erofs: inode {}", node.nid)));
  };
  const auto add = [&xattrs](const XattrEntry& entry) -> Result<void> {
    RUNNEL_TRY(std::string name, join_xattr_name(entry.name));
    xattrs.push_back({.name = std::move(name), .value = entry.value});
    return {};
  };

  const uint64_t shared_count = load_le<uint8_t>(body.data() + 4);
  body = body.subspan(kXattrHeaderSize);
  if (body.size() < shared_count * 4) {
    return fail(Code::kInvalid, "erofs: inode {} has no room for {} shared xattrs", node.nid,
                shared_count);
  }
  const uint64_t area = superblock_.xattr_block * kBlockSize;
  for (uint64_t i = 0; i < shared_count; ++i) {
    const uint64_t at = area + uint64_t{load_le<uint32_t>(body.data() + 4 * i)} * 4;
    RUNNEL_TRY(const Bytes all, bytes(0, image_.size()));
    if (at >= all.size()) return fail(Code::kInvalid, "erofs: shared xattr past the image");
    const auto xattr = load_xattr(all.subspan(at));
    if (!xattr) return invalid(xattr.error());
    RUNNEL_DO(add(*xattr));
  }
  for (body = body.subspan(shared_count * 4); !body.empty();) {
    const auto xattr = load_xattr(body);
    if (!xattr) return invalid(xattr.error());
    if (xattr->size > body.size()) return fail(Code::kInvalid, "erofs: xattr padding is cut off");
    body = body.subspan(xattr->size);
    RUNNEL_DO(add(*xattr));
  }
  return xattrs;
}

}  // namespace runnel::erofs
