#include "artifact/acl.h"

namespace runnel::artifact {

namespace {

constexpr size_t kHeaderSize = 4;
constexpr size_t kEntrySize = 8;
constexpr uint16_t kOwner = 0x01;
constexpr uint16_t kUser = 0x02;
constexpr uint16_t kOwningGroup = 0x04;
constexpr uint16_t kGroup = 0x08;
constexpr uint16_t kMask = 0x10;
constexpr uint16_t kOthers = 0x20;

uint16_t tag_at(Bytes acl, size_t at) {
  return load_le<uint16_t>(acl.data() + at);
}

Result<uint16_t> tags_of(Bytes acl) {
  if (acl.size() < kHeaderSize || (acl.size() - kHeaderSize) % kEntrySize != 0 ||
      load_le<uint32_t>(acl.data()) != 2) {
    return fail(Code::kInvalid, "malformed POSIX ACL of {} bytes", acl.size());
  }
  uint16_t tags = 0;
  for (size_t at = kHeaderSize; at < acl.size(); at += kEntrySize) {
    const uint16_t tag = tag_at(acl, at);
    const bool known = tag == kOwner || tag == kUser || tag == kOwningGroup || tag == kGroup ||
                       tag == kMask || tag == kOthers;
    if (!known || load_le<uint16_t>(acl.data() + at + 2) > 7) {
      return fail(Code::kInvalid, "malformed POSIX ACL entry (tag {:#x})", tag);
    }
    tags |= tag;
  }
  constexpr uint16_t kRequired = kOwner | kOwningGroup | kOthers;
  const bool needs_mask = (tags & (kUser | kGroup)) != 0;
  if ((tags & kRequired) != kRequired || (needs_mask && (tags & kMask) == 0)) {
    return fail(Code::kInvalid, "POSIX ACL without a required entry (tags {:#x})", tags);
  }
  return tags;
}

}  // namespace

Result<std::optional<Buffer>> acl_after_chmod(Bytes acl, uint16_t mode) {
  if (acl.size() <= kHeaderSize) return std::nullopt;  // setting an empty ACL removes it
  RUNNEL_TRY(const uint16_t tags, tags_of(acl));
  if ((tags & (kUser | kGroup | kMask)) == 0) return std::nullopt;

  Buffer changed(acl.begin(), acl.end());
  for (size_t at = kHeaderSize; at < acl.size(); at += kEntrySize) {
    const uint16_t tag = tag_at(acl, at);
    std::byte* permissions = changed.data() + at + 2;
    if (tag == kOwner) store_le<uint16_t>(permissions, (mode >> 6) & 7);
    if (tag == kMask || (tag == kOwningGroup && (tags & kMask) == 0)) {
      store_le<uint16_t>(permissions, (mode >> 3) & 7);
    }
    if (tag == kOthers) store_le<uint16_t>(permissions, mode & 7);
  }
  return changed;
}

}  // namespace runnel::artifact
