// POSIX access control lists as the two system.posix_acl_… xattrs hold them.
//
//   0 version u32 = 2, then entries of 8 bytes:  0 tag u16   2 permissions u16   4 id u32
//
// Source: the kernel's include/uapi/linux/posix_acl_xattr.h and posix_acl.h. EROFS hands the value
// to the kernel's parser when the file is first used, and a list that does not parse makes the file
// unusable even for root (EOPNOTSUPP or EINVAL from open), so it must not get into an image.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::erofs {

// kInvalid unless setxattr(2) would take it: entries in order (owner, users, group, groups, mask,
// others), the three base entries once each, a mask when there are named users or groups.
Result<void> check_posix_acl(Bytes value);

}  // namespace runnel::erofs
