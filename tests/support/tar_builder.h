// Makes tar archives block by block, also ones that no tar program would write.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace runnel::test {

// Magic and version of the dialects.
inline constexpr std::string_view kUstarMagic = std::string_view("ustar\00000", 8);
inline constexpr std::string_view kGnuMagic = std::string_view("ustar  \0", 8);
inline constexpr std::string_view kV7Magic = std::string_view("\0\0\0\0\0\0\0\0", 8);

struct TarHeader {
  std::string name = {};
  char type = '0';
  uint64_t size = 0;
  uint32_t mode = 0644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t mtime = 0;
  std::string link_name = {};
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  std::string_view magic = kUstarMagic;
};

// The 512 bytes, with the right checksum. Texts that are too long are cut.
Buffer tar_header(const TarHeader& header);

// Overwrites bytes of a header block and makes the checksum right again.
void patch_header(Buffer& block, size_t offset, std::string_view bytes);

// "LENGTH KEY=VALUE\n".
std::string pax_record(std::string_view key, std::string_view value);

using PaxList = std::vector<std::pair<std::string, std::string>>;

class TarBuilder {
 public:
  // An entry and, for types that have it, its content with padding; `header.size` is set from it.
  TarBuilder& add(TarHeader header, std::string_view content = {});
  TarBuilder& file(std::string name, std::string_view content);
  TarBuilder& directory(std::string name);
  TarBuilder& symlink(std::string name, std::string target);
  TarBuilder& hard_link(std::string name, std::string target);
  TarBuilder& pax(const PaxList& records, char type = 'x');

  TarBuilder& raw(Bytes bytes);
  // Zero bytes up to the border of a block.
  TarBuilder& pad();
  // The two zero blocks.
  TarBuilder& end();

  const Buffer& bytes() const { return bytes_; }

 private:
  Buffer bytes_;
};

}  // namespace runnel::test
