#include "erofs/xattr_entry.h"

namespace runnel::erofs {

Result<XattrEntry> load_xattr(Bytes from) {
  if (from.size() < kXattrEntrySize) {
    return fail(Code::kInvalid, "xattr entry is cut off");
  }
  const uint64_t name_size = load_le<uint8_t>(from.data());
  const uint64_t value_size = load_le<uint16_t>(from.data() + 2);
  if (from.size() - kXattrEntrySize < name_size + value_size) {
    return fail(Code::kInvalid, "xattr of {} and {} bytes is cut off", name_size, value_size);
  }
  const XattrEntry entry{.name = {.prefix = load_le<uint8_t>(from.data() + 1),
                                  .rest = as_text(from.subspan(kXattrEntrySize, name_size))},
                         .value = from.subspan(kXattrEntrySize + name_size, value_size),
                         .size = round_up(kXattrEntrySize + name_size + value_size, 4)};
  RUNNEL_DO(check_xattr_name(entry.name));
  return entry;
}

}  // namespace runnel::erofs
