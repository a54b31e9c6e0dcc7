// What the kernel and the dynamic linker read of an ELF file when they load it (System V gABI 4.1,
// chapters 4 and 5; elf.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::startup {

struct ElfFile {
  struct Part {
    uint64_t offset = 0;
    uint64_t size = 0;
    bool operator==(const Part&) const = default;
  };

  std::string interpreter;          // PT_INTERP: the dynamic linker; "" of libraries
  std::vector<std::string> needed;  // DT_NEEDED
  // DT_RUNPATH or, without that, DT_RPATH: directories, "$ORIGIN" as it stands there.
  std::vector<std::string> search;
  // Read by the linker whatever the program then does: headers, symbols and relocations; what is
  // written to.
  std::vector<Part> linking;
  // All segments that are mapped, in the file's order.
  std::vector<Part> mapped;

  bool operator==(const ElfFile&) const = default;
};

// Reads up to so many bytes from an offset of the file on; fewer at its end.
using ReadFile = std::function<Result<Buffer>(uint64_t offset, uint64_t size)>;

// Nothing when it is no little-endian ELF program or library whose headers make sense. Parts may
// reach beyond the end of the file. Errors are the reader's.
Result<std::optional<ElfFile>> read_elf(const ReadFile& read);

}  // namespace runnel::startup
