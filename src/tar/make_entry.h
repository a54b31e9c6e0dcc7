// From a header block, and what metadata entries before it said, to an Entry.
#pragma once

#include <string>

#include "base/error.h"
#include "tar/entry.h"
#include "tar/header.h"
#include "tar/pax.h"

namespace runnel::tar {

// What metadata entries have said about the next entry; empty where they have not.
struct Pending {
  PaxRecords pax;
  std::string long_name;  // GNU 'L'
  std::string long_link;  // GNU 'K'
};

// True for types that have no data behind their header, whatever its size field says. (POSIX lets
// a hard link have data; Go does not read any, so no image that works has it.)
bool is_header_only(char type_flag);
bool has_content(EntryType type);

// Everything but the extents. `size` is what the archive stores, which a sparse file changes later.
Result<Entry> make_entry(const Header& header, const Pending& pending);

// Sets what a PAX sparse file's records say about its name and size.
Result<void> apply_pax_sparse(const PaxRecords& pax, Entry& entry);

}  // namespace runnel::tar
