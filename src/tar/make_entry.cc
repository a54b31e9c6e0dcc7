// Precedence as in Go's archive/tar: GNU.sparse.name, GNU long name, PAX record, header field. (An
// archive that has several of these for one entry is rare and read differently by each program.)
#include "tar/make_entry.h"

#include <limits>

namespace runnel::tar {
namespace {

// The type flags of POSIX, '\0' from v7, and 'S' from GNU. All others are vendors' own: volume
// labels, parts of files, access control lists of Solaris.
EntryType type_of(char type_flag, std::string_view name) {
  switch (type_flag) {
    // Only in v7, which had no type for it, does a slash at the end make a directory.
    case '\0': return name.ends_with('/') ? EntryType::kDirectory : EntryType::kRegular;
    case '0':
    case '7':
    case 'S': return EntryType::kRegular;
    case '1': return EntryType::kHardLink;
    case '2': return EntryType::kSymlink;
    case '3': return EntryType::kCharDevice;
    case '4': return EntryType::kBlockDevice;
    case '5': return EntryType::kDirectory;
    case '6': return EntryType::kFifo;
    default: return EntryType::kOther;
  }
}

Result<uint64_t> not_negative(int64_t value, const char* name) {
  if (value < 0) return fail(Code::kInvalid, "its {} is negative, {}", name, value);
  return static_cast<uint64_t>(value);
}

Result<uint32_t> device_number(int64_t value) {
  if (value < 0 || value > std::numeric_limits<uint32_t>::max())
    return fail(Code::kInvalid, "its device number {} is out of range", value);
  return static_cast<uint32_t>(value);
}

std::string first_of(std::string_view preferred, std::string_view next, std::string_view last) {
  if (!preferred.empty()) return std::string(preferred);
  return std::string(next.empty() ? last : next);
}

Result<void> set_numbers(const Header& header, const PaxRecords& pax, Entry& entry) {
  RUNNEL_TRY(const int64_t uid, pax.number("uid", header.uid));
  RUNNEL_TRY(const int64_t gid, pax.number("gid", header.gid));
  RUNNEL_TRY(const int64_t size, pax.number("size", header.size));
  RUNNEL_TRY(const Time mtime, pax.time("mtime", Time{header.mtime, 0}));
  RUNNEL_DO(pax.time("atime", {}));
  RUNNEL_DO(pax.time("ctime", {}));

  entry.mode = static_cast<uint32_t>(header.mode & 07777);
  entry.mtime_s = mtime.seconds;
  entry.mtime_ns = mtime.nanoseconds;
  RUNNEL_TRY(entry.uid, not_negative(uid, "uid"));
  RUNNEL_TRY(entry.gid, not_negative(gid, "gid"));
  if (has_content(entry.type)) {
    RUNNEL_TRY(entry.size, not_negative(size, "size"));
  }
  return {};
}

}  // namespace

bool is_header_only(char type_flag) {
  return type_flag >= '1' && type_flag <= '6';
}

bool has_content(EntryType type) {
  return type == EntryType::kRegular || type == EntryType::kOther;
}

Result<Entry> make_entry(const Header& header, const Pending& pending) {
  const PaxRecords& pax = pending.pax;
  Entry entry;
  entry.name = first_of(pending.long_name, pax.get("path"), header.name);
  entry.type = type_of(header.type_flag, entry.name);
  entry.type_flag = header.type_flag;
  RUNNEL_DO(set_numbers(header, pax, entry));
  RUNNEL_TRY(entry.xattrs, pax.xattrs());
  if (entry.type == EntryType::kSymlink || entry.type == EntryType::kHardLink)
    entry.link_name = first_of(pending.long_link, pax.get("linkpath"), header.link_name);
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    RUNNEL_TRY(entry.dev_major, device_number(header.dev_major));
    RUNNEL_TRY(entry.dev_minor, device_number(header.dev_minor));
  }
  return entry;
}

Result<void> apply_pax_sparse(const PaxRecords& pax, Entry& entry) {
  if (const std::string_view name = pax.get("GNU.sparse.name"); !name.empty()) {
    if (name.find('\0') != name.npos) return fail(Code::kInvalid, "GNU.sparse.name has a NUL");
    entry.name = name;
  }
  const bool has_size = !pax.get("GNU.sparse.size").empty();
  const char* key = has_size ? "GNU.sparse.size" : "GNU.sparse.realsize";
  RUNNEL_TRY(const int64_t size, pax.number(key, static_cast<int64_t>(entry.size)));
  RUNNEL_TRY(entry.size, not_negative(size, "size"));
  return {};
}

}  // namespace runnel::tar
