// One 512-byte header block: which dialect it is of, and its fields as numbers and text.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel::tar {

inline constexpr size_t kBlockSize = 512;
using Block = std::array<std::byte, kBlockSize>;

enum class Dialect : uint8_t { kV7, kUstar, kGnu, kStar };  // PAX is ustar with 'x' entries

// Numbers are as stored, so they may be negative or too large for what they mean.
struct Header {
  Dialect dialect = Dialect::kV7;
  char type_flag = '0';
  std::string name;  // with the prefix of ustar and star
  std::string link_name;
  int64_t mode = 0;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;
  int64_t mtime = 0;
  int64_t dev_major = 0;  // 0 in v7
  int64_t dev_minor = 0;
};

bool is_zero(const Block& block);

// kInvalid when the checksum or a number is wrong.
Result<Header> parse_header(const Block& block);

// A number field: octal text with spaces and NULs around it, or, with the first byte's top bit set,
// a big-endian two's complement number in the rest of the bits. An empty field is 0. kInvalid when
// it is neither or exceeds 64 bits with the sign.
Result<int64_t> parse_number(Bytes field);

}  // namespace runnel::tar
