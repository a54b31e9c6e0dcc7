#include "erofs/xattrs.h"

#include <algorithm>

#include "base/quote.h"
#include "erofs/acl.h"
#include "erofs/format.h"

namespace runnel::erofs {
namespace {

constexpr size_t kMaxSharedIds = 255;

// The entry as it stands on disk, padded. The name and sizes have been checked.
std::string encode(const XattrName& name, Bytes value) {
  std::string entry(round_up(kXattrEntrySize + name.rest.size() + value.size(), 4), '\0');
  auto* at = reinterpret_cast<std::byte*>(entry.data());
  store_le(at, static_cast<uint8_t>(name.rest.size()));
  store_le(at + 1, name.prefix);
  store_le(at + 2, static_cast<uint16_t>(value.size()));
  std::ranges::copy(as_bytes(name.rest), at + kXattrEntrySize);
  std::ranges::copy(value, at + kXattrEntrySize + name.rest.size());
  return entry;
}

// An inode's entries in one order, whatever the order in the tree.
std::vector<std::string> encode_all(const Inode& inode) {
  std::vector<std::string> entries;
  entries.reserve(inode.xattrs.size());
  for (const auto& [full, value] : inode.xattrs) {
    const auto name = split_xattr_name(full);
    RUNNEL_CHECK(name.has_value());  // count() has seen it
    entries.push_back(encode(*name, value));
  }
  std::ranges::sort(entries);
  return entries;
}

Result<void> check(const Inode& inode) {
  std::vector<std::string_view> names;
  for (const auto& [full, value] : inode.xattrs) {
    RUNNEL_DO(split_xattr_name(full));
    if (value.size() > kMaxXattrValueSize) {
      return fail(Code::kUnsupported, "xattr {} has {} bytes; EROFS holds {}", quote(full),
                  value.size(), kMaxXattrValueSize);
    }
    if (is_posix_acl(full)) RUNNEL_DO(check_posix_acl(value));
    names.push_back(full);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return fail(Code::kInvalid, "xattr {} is there twice", quote(*twice));
  }
  return {};
}

}  // namespace

Result<void> XattrStore::count(const Inode& inode) {
  if (inode.xattrs.empty()) return {};
  RUNNEL_DO(check(inode));
  for (std::string& encoded : encode_all(inode)) {
    const auto [at, is_new] = entries_.try_emplace(std::move(encoded));
    if (is_new) first_seen_.push_back(&at->first);
    ++at->second.uses;
  }
  return {};
}

void XattrStore::place_shared() {
  placed_ = true;
  for (const std::string* encoded : first_seen_) {
    Entry& entry = entries_.find(*encoded)->second;
    if (entry.uses < 2) continue;
    entry.id = static_cast<uint32_t>(shared_.size() / 4);
    const Bytes bytes = as_bytes(*encoded);
    shared_.insert(shared_.end(), bytes.begin(), bytes.end());
  }
}

XattrStore::Body XattrStore::body_of(const Inode& inode) const {
  Body body;
  for (std::string& encoded : encode_all(inode)) {
    const Entry& entry = entries_.find(encoded)->second;
    if (is_shared(entry) && body.shared_ids.size() < kMaxSharedIds) {
      body.shared_ids.push_back(entry.id);
    } else {
      body.inline_entries.push_back(std::move(encoded));
    }
  }
  return body;
}

uint64_t XattrStore::Body::size() const {
  uint64_t size = kXattrHeaderSize + 4 * shared_ids.size();
  for (const std::string& entry : inline_entries) size += entry.size();
  return size;
}

Result<uint64_t> XattrStore::body_size(const Inode& inode) const {
  if (inode.xattrs.empty()) return uint64_t{0};
  const uint64_t size = body_of(inode).size();
  if (size > kMaxXattrBody) {
    return fail(Code::kUnsupported, "{} bytes of xattrs; EROFS holds {}", size, kMaxXattrBody);
  }
  return size;
}

void XattrStore::store_body(const Inode& inode, std::byte* at) const {
  if (inode.xattrs.empty()) return;
  const Body body = body_of(inode);
  store_le(at + 4, static_cast<uint8_t>(body.shared_ids.size()));
  at += kXattrHeaderSize;
  for (const uint32_t id : body.shared_ids) {
    store_le(at, id);
    at += 4;
  }
  for (const std::string& entry : body.inline_entries) {
    at = std::ranges::copy(as_bytes(entry), at).out;
  }
}

}  // namespace runnel::erofs
