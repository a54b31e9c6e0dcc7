// POSIX ACLs as Linux stores them in system.posix_acl_access and system.posix_acl_default, as far
// as unpacking a layer changes them.
//
// The value (include/uapi/linux/posix_acl_xattr.h): version u32 = 2, then entries of 8 bytes:
// tag u16, permissions u16, id u32. Tags (include/uapi/linux/posix_acl.h): 0x01 owner, 0x02 user,
// 0x04 owning group, 0x08 group, 0x10 mask, 0x20 others.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::artifact {

// The access ACL that is left after chmod(mode) on a file that had `acl`; none when the mode alone
// says it all (owner, owning group and others only). kInvalid when the value is malformed: the
// kernel would refuse to set it.
Result<std::optional<Buffer>> acl_after_chmod(Bytes acl, uint16_t mode);

}  // namespace runnel::artifact
