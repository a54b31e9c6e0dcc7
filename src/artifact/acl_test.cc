#include "artifact/acl.h"

#include <gtest/gtest.h>

namespace runnel::artifact {
namespace {

struct Entry {
  uint16_t tag;
  uint16_t permissions;
};

Buffer acl_of(std::initializer_list<Entry> entries) {
  ByteWriter out;
  out.u32(2);
  for (const auto& entry : entries) {
    out.u16(entry.tag);
    out.u16(entry.permissions);
    out.u32(UINT32_MAX);
  }
  return out.take();
}

TEST(AclAfterChmod, DropsAnAclThatTheModeSays) {
  const auto acl = acl_of({{0x01, 6}, {0x04, 4}, {0x20, 4}});

  EXPECT_EQ(acl_after_chmod(acl, 0644).value(), std::nullopt);
}

TEST(AclAfterChmod, ChangesOwnerMaskAndOthersButNotNamedEntries) {
  const auto acl = acl_of({{0x01, 7}, {0x02, 6}, {0x04, 5}, {0x10, 7}, {0x20, 0}});

  const auto changed = acl_after_chmod(acl, 0641).value();

  EXPECT_EQ(changed, acl_of({{0x01, 6}, {0x02, 6}, {0x04, 5}, {0x10, 4}, {0x20, 1}}));
}

TEST(AclAfterChmod, RefusesWhatTheKernelRefuses) {
  EXPECT_FALSE(acl_after_chmod(acl_of({{0x01, 7}}), 0644));  // incomplete
  EXPECT_FALSE(
      acl_after_chmod(acl_of({{0x01, 7}, {0x02, 6}, {0x04, 5}, {0x20, 0}}), 0644));  // no mask
  EXPECT_FALSE(acl_after_chmod(acl_of({{0x03, 7}, {0x04, 5}, {0x20, 0}}), 0644));    // tag
  EXPECT_FALSE(acl_after_chmod(Buffer(7), 0644));
}

}  // namespace
}  // namespace runnel::artifact
