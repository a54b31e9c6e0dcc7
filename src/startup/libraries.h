// Loads ELF files as the dynamic linker does: with all the libraries that they need.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "startup/elf.h"
#include "startup/image_files.h"
#include "startup/reads.h"

namespace runnel::startup {

// Used by one thread.
class Libraries {
 public:
  // `search` are the directories of LD_LIBRARY_PATH. Reads the image's /etc/ld.so.conf, if any.
  static Result<Libraries> open(ImageFiles& files, Reads& reads, std::vector<std::string> search);

  // Adds the program or library and all that it needs; each file once. False when it is no ELF file
  // that makes sense.
  Result<bool> load(const ImageFiles::Found& file);

 private:
  Libraries(ImageFiles& files, Reads& reads) : files_(files), reads_(reads) {}

  Result<void> read_configuration(const std::string& path, int depth);
  void add_parts(uint32_t inode, const ElfFile& elf);
  std::optional<ImageFiles::Found> find(const std::string& name, const ElfFile& by,
                                        const std::string& directory) const;

  ImageFiles& files_;
  Reads& reads_;
  std::vector<std::string> before_;  // LD_LIBRARY_PATH
  std::vector<std::string> system_;  // ld.so.conf, then the usual ones
  std::set<uint32_t> loaded_;
};

}  // namespace runnel::startup
