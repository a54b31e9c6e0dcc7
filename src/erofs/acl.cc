#include "erofs/acl.h"

namespace runnel::erofs {
namespace {

constexpr uint64_t kHeaderSize = 4;
constexpr uint64_t kEntrySize = 8;
constexpr uint32_t kVersion = 2;
constexpr uint32_t kNoId = 0xffffffff;

enum Tag : uint16_t {
  kUserObject = 0x01,
  kUser = 0x02,
  kGroupObject = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

}  // namespace

Result<void> check_posix_acl(Bytes value) {
  if (value.size() < kHeaderSize || (value.size() - kHeaderSize) % kEntrySize != 0 ||
      load_le<uint32_t>(value.data()) != kVersion) {
    return fail(Code::kInvalid, "POSIX ACL of {} bytes is not of version {}", value.size(),
                kVersion);
  }

  unsigned seen = 0;
  uint16_t before = 0;
  for (uint64_t at = kHeaderSize; at < value.size(); at += kEntrySize) {
    const auto tag = load_le<uint16_t>(value.data() + at);
    const auto permissions = load_le<uint16_t>(value.data() + at + 2);
    const auto id = load_le<uint32_t>(value.data() + at + 4);
    const bool named = tag == kUser || tag == kGroup;
    const bool known =
        named || tag == kUserObject || tag == kGroupObject || tag == kMask || tag == kOther;
    // The tags' values ascend in the order that the entries must have.
    if (!known || tag < before || (tag == before && !named) || permissions > 7 ||
        (named && id == kNoId)) {
      return fail(Code::kInvalid, "POSIX ACL entry with tag {:#x}, permissions {:o}, id {}", tag,
                  permissions, id);
    }
    seen |= tag;
    before = tag;
  }
  const unsigned base = kUserObject | kGroupObject | kOther;
  if ((seen & base) != base || ((seen & (kUser | kGroup)) != 0 && (seen & kMask) == 0)) {
    return fail(Code::kInvalid, "POSIX ACL has entries {:#x} only", seen);
  }
  return {};
}

}  // namespace runnel::erofs
