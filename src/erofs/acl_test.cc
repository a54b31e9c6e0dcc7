#include "erofs/acl.h"

#include <gtest/gtest.h>

namespace runnel::erofs {
namespace {

struct Entry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = 0xffffffff;
};

Buffer acl(std::initializer_list<Entry> entries, uint32_t version = 2) {
  ByteWriter writer;
  writer.u32(version);
  for (const Entry& entry : entries) {
    writer.u16(entry.tag);
    writer.u16(entry.permissions);
    writer.u32(entry.id);
  }
  return writer.take();
}

TEST(PosixAcl, AcceptsWhatSetfaclMakes) {
  EXPECT_TRUE(check_posix_acl(acl({{1, 7}, {4, 5}, {0x20, 0}})));
  EXPECT_TRUE(check_posix_acl(
      acl({{1, 7}, {2, 6, 0}, {2, 6, 1000}, {4, 5}, {8, 4, 50}, {0x10, 7}, {0x20, 0}})));
}

TEST(PosixAcl, RefusesWhatTheKernelWouldNotParse) {
  EXPECT_FALSE(check_posix_acl({}));
  EXPECT_FALSE(check_posix_acl(acl({})));
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {4, 5}, {0x20, 0}}, 1)));
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {4, 5}})));                        // no others
  EXPECT_FALSE(check_posix_acl(acl({{4, 5}, {1, 7}, {0x20, 0}})));             // order
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {1, 7}, {4, 5}, {0x20, 0}})));     // twice
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {2, 6, 5}, {4, 5}, {0x20, 0}})));  // no mask
  EXPECT_FALSE(check_posix_acl(acl({{1, 8}, {4, 5}, {0x20, 0}})));             // permissions
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {2, 6}, {4, 5}, {0x10, 7}, {0x20, 0}})));  // no id
  EXPECT_FALSE(check_posix_acl(acl({{1, 7}, {4, 5}, {0x20, 0}, {0x40, 0}})));  // unknown tag
  Buffer cut = acl({{1, 7}, {4, 5}, {0x20, 0}});
  cut.pop_back();
  EXPECT_FALSE(check_posix_acl(cut));
}

}  // namespace
}  // namespace runnel::erofs
