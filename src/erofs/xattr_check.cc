#include "erofs/xattr_check.h"

#include <algorithm>

#include "base/quote.h"
#include "erofs/acl.h"
#include "erofs/xattr_entry.h"

namespace runnel::erofs {
namespace {

constexpr uint64_t kIdUnit = 4;  // bytes of the area that a shared id counts

bool all_zero(Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

Result<XattrEntry> checked(Bytes from) {
  RUNNEL_TRY(const XattrEntry entry, load_xattr(from));
  if (is_posix_acl(entry.name)) RUNNEL_DO(check_posix_acl(entry.value));
  return entry;
}

}  // namespace

Result<void> XattrCheck::read_shared(uint64_t image_size) {
  const uint64_t at = reader_.superblock().xattr_block * kBlockSize;
  if (at == 0) return {};
  if (at >= image_size) return fail(Code::kInvalid, "erofs: shared xattrs past the image");
  RUNNEL_TRY(area_, reader_.bytes(at, image_size - at));
  starts_.resize(div_up(area_.size() / kIdUnit, 64));

  // No xattr has a name of no bytes behind prefix number 0, so two zeros end them.
  uint64_t end = 0;
  while (end < area_.size() && !all_zero(area_.subspan(end, 2))) {
    const auto entry = checked(area_.subspan(end));
    if (!entry) return std::unexpected(entry.error().in("erofs: shared xattrs"));
    const uint64_t id = end / kIdUnit;
    starts_[id / 64] |= uint64_t{1} << (id % 64);
    end += entry->size;
  }
  const Bytes rest = area_.subspan(end);
  if (rest.size() >= kBlockSize || !all_zero(rest)) {
    return fail(Code::kInvalid, "erofs: the area of shared xattrs goes on behind them");
  }
  return {};
}

Result<void> XattrCheck::check(const Node& node) {
  if (node.xattr_size == 0) return {};
  RUNNEL_TRY(Bytes body, reader_.bytes(reader_.inode_at(node.nid) + kInodeSize, node.xattr_size));
  if (body.size() == kXattrHeaderSize) return fail(Code::kInvalid, "has a body without xattrs");
  if (!all_zero(body.first(4)) || !all_zero(body.subspan(5, kXattrHeaderSize - 5))) {
    return fail(Code::kInvalid, "reserved bytes of the xattr body are set");
  }
  const uint64_t shared_count = load_le<uint8_t>(body.data() + 4);
  body = body.subspan(kXattrHeaderSize);
  if (body.size() < shared_count * 4) {
    return fail(Code::kInvalid, "has no room for {} shared xattrs", shared_count);
  }
  names_.clear();
  for (uint64_t i = 0; i < shared_count; ++i) {
    RUNNEL_DO(add_shared(load_le<uint32_t>(body.data() + 4 * i)));
  }
  RUNNEL_DO(add_own(body.subspan(shared_count * 4)));

  std::ranges::sort(names_);
  const auto twice = std::ranges::adjacent_find(names_);
  if (twice == names_.end()) return {};
  RUNNEL_TRY(const std::string name, join_xattr_name(*twice));
  return fail(Code::kInvalid, "has xattr {} twice", quote(name));
}

// Its value was looked at with the area.
Result<void> XattrCheck::add_shared(uint32_t id) {
  if (id >= area_.size() / kIdUnit || !starts_at(id)) {
    return fail(Code::kInvalid, "there is no shared xattr {}", id);
  }
  const std::byte* entry = area_.data() + id * kIdUnit;
  const Bytes name(entry + kXattrEntrySize, load_le<uint8_t>(entry));
  names_.push_back({.prefix = load_le<uint8_t>(entry + 1), .rest = as_text(name)});
  return {};
}

Result<void> XattrCheck::add_own(Bytes entries) {
  while (!entries.empty()) {
    RUNNEL_TRY(const XattrEntry entry, checked(entries));
    if (entry.size > entries.size()) return fail(Code::kInvalid, "xattr padding is cut off");
    names_.push_back(entry.name);
    entries = entries.subspan(entry.size);
  }
  return {};
}

}  // namespace runnel::erofs
