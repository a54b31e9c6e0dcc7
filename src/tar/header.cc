// The header block, byte by byte. All dialects agree up to 257 (POSIX.1-1988, 10.1.1):
//
//     0  name[100]     100  mode[8]       108  uid[8]      116  gid[8]
//   124  size[12]      136  mtime[12]     148  chksum[8]   156  typeflag[1]   157  linkname[100]
//
// v7 ends here. The rest:
//
//   ustar  257  magic "ustar" NUL   263  version "00"
//          265  uname[32]   297  gname[32]   329  devmajor[8]   337  devminor[8]   345  prefix[155]
//   GNU    257  magic "ustar "      263  version " " NUL; names and device numbers as in ustar
//          345  atime[12]   357  ctime[12]   386  sparse map (see sparse.h)
//   star   as ustar, but  345  prefix[131]   476  atime[12]   488  ctime[12]   508  "tar" NUL
//
// The checksum is the sum of all bytes of the block with its own field taken as spaces. POSIX sums
// unsigned bytes; some old programs summed signed ones, and both are accepted.
//
// Where readers differ, this does as Go's archive/tar does, because that is what containerd unpacks
// with: a number that does not parse is an error even in a field that the entry's type has no use
// for, and in a GNU header whose atime or ctime does not parse the bytes from 345 on are a prefix
// if they are ASCII (Go wrote such archives before 1.8).
#include "tar/header.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace runnel::tar {
namespace {

Bytes field(const Block& block, size_t offset, size_t size) {
  return Bytes(block).subspan(offset, size);
}

// Up to the first NUL, or all of it.
std::string_view text(const Block& block, size_t offset, size_t size) {
  const std::string_view all = as_text(field(block, offset, size));
  return all.substr(0, all.find('\0'));
}

Result<int64_t> named_number(const Block& block, size_t offset, size_t size, const char* name) {
  auto number = parse_number(field(block, offset, size));
  if (!number) return std::unexpected(number.error().in(fmt::format("the {} field", name)));
  return number;
}

Result<int64_t> parse_octal(std::string_view digits) {
  const std::string_view padding(" \0", 2);
  const size_t first = digits.find_first_not_of(padding);
  if (first == digits.npos) return 0;
  digits = digits.substr(first, digits.find_last_not_of(padding) + 1 - first);
  digits = digits.substr(0, digits.find('\0'));

  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size() ||
      value > std::numeric_limits<int64_t>::max())
    return fail(Code::kInvalid, "not an octal number");
  return static_cast<int64_t>(value);
}

Result<int64_t> parse_binary(Bytes number) {
  const bool negative = (number[0] & std::byte{0x40}) != std::byte{0};
  const uint8_t inversion = negative ? 0xff : 0;
  uint64_t value = 0;
  for (size_t i = 0; i < number.size(); ++i) {
    const auto mask = static_cast<uint8_t>(i == 0 ? 0x7f : 0xff);
    if (value >> 56 != 0) return fail(Code::kInvalid, "a binary number above 64 bits");
    const auto byte = static_cast<uint8_t>(std::to_integer<uint8_t>(number[i]) ^ inversion);
    value = value << 8 | (byte & mask);
  }
  if (value >> 63 != 0) return fail(Code::kInvalid, "a binary number above 64 bits");
  const auto magnitude = static_cast<int64_t>(value);
  return negative ? -magnitude - 1 : magnitude;
}

bool checksum_matches(const Block& block) {
  int64_t unsigned_sum = 0;
  int64_t signed_sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool in_checksum = i >= 148 && i < 156;
    const auto byte = in_checksum ? uint8_t{' '} : std::to_integer<uint8_t>(block[i]);
    unsigned_sum += byte;
    signed_sum += static_cast<int8_t>(byte);
  }
  const auto stored = parse_octal(as_text(field(block, 148, 8)));
  return stored && (*stored == unsigned_sum || *stored == signed_sum);
}

Dialect dialect_of(const Block& block) {
  const auto is = [&](size_t offset, std::string_view bytes) {
    return as_text(field(block, offset, bytes.size())) == bytes;
  };
  if (is(257, std::string_view("ustar\0", 6)))
    return is(508, std::string_view("tar\0", 4)) ? Dialect::kStar : Dialect::kUstar;
  if (is(257, std::string_view("ustar  \0", 8))) return Dialect::kGnu;
  return Dialect::kV7;
}

// Fails as Go does when star's times do not parse; the values are of no use here.
Result<std::string_view> star_prefix(const Block& block) {
  RUNNEL_DO(named_number(block, 476, 12, "atime"));
  RUNNEL_DO(named_number(block, 488, 12, "ctime"));
  return text(block, 345, 131);
}

std::string_view gnu_prefix(const Block& block) {
  const auto is_time = [&](size_t offset) {
    return block[offset] == std::byte{0} || parse_number(field(block, offset, 12)).has_value();
  };
  if (is_time(345) && is_time(357)) return {};
  const std::string_view prefix = text(block, 345, 155);
  const bool ascii =
      std::ranges::none_of(prefix, [](char c) { return static_cast<uint8_t>(c) >= 0x80; });
  return ascii ? prefix : std::string_view();
}

Result<std::string_view> prefix_of(const Block& block, Dialect dialect) {
  switch (dialect) {
    case Dialect::kUstar: return text(block, 345, 155);
    case Dialect::kStar: return star_prefix(block);
    case Dialect::kGnu: return gnu_prefix(block);
    case Dialect::kV7: break;
  }
  return std::string_view();
}

}  // namespace

bool is_zero(const Block& block) {
  return std::ranges::all_of(block, [](std::byte byte) { return byte == std::byte{0}; });
}

Result<int64_t> parse_number(Bytes number) {
  if (!number.empty() && (number[0] & std::byte{0x80}) != std::byte{0}) return parse_binary(number);
  return parse_octal(as_text(number));
}

Result<Header> parse_header(const Block& block) {
  if (!checksum_matches(block))
    return fail(Code::kInvalid, "no header is here, or it is damaged: the checksum does not match");

  Header header;
  header.dialect = dialect_of(block);
  header.type_flag = static_cast<char>(block[156]);
  header.name = text(block, 0, 100);
  header.link_name = text(block, 157, 100);
  RUNNEL_TRY(header.mode, named_number(block, 100, 8, "mode"));
  RUNNEL_TRY(header.uid, named_number(block, 108, 8, "uid"));
  RUNNEL_TRY(header.gid, named_number(block, 116, 8, "gid"));
  RUNNEL_TRY(header.size, named_number(block, 124, 12, "size"));
  RUNNEL_TRY(header.mtime, named_number(block, 136, 12, "mtime"));
  if (header.dialect == Dialect::kV7) return header;

  RUNNEL_TRY(header.dev_major, named_number(block, 329, 8, "devmajor"));
  RUNNEL_TRY(header.dev_minor, named_number(block, 337, 8, "devminor"));
  RUNNEL_TRY(const std::string_view prefix, prefix_of(block, header.dialect));
  if (!prefix.empty()) header.name = std::string(prefix) + "/" + header.name;
  return header;
}

}  // namespace runnel::tar
