#include "engine/short_memory.h"

#include <unistd.h>

namespace runnel::engine {

uint64_t memory_of_this_machine() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : 0;
}

}  // namespace runnel::engine
