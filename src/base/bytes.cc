#include "base/bytes.h"

namespace runnel {

namespace {

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

std::string to_hex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

Result<Buffer> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(Code::kInvalid, "hex: odd number of digits");
  Buffer bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return fail(Code::kInvalid, "hex: not a digit at position {}", i);
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return bytes;
}

Result<Bytes> ByteReader::bytes(uint64_t size) {
  if (size > remaining()) {
    return fail(Code::kInvalid, "{}: {} bytes wanted at offset {}, {} left", what_, size, offset_,
                remaining());
  }
  const Bytes view = bytes_.subspan(offset_, size);
  offset_ += size;
  return view;
}

Result<uint64_t> ByteReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    RUNNEL_TRY(const uint8_t byte, u8());
    const uint64_t bits = byte & 0x7f;
    if (shift == 63 && bits > 1) break;
    value |= bits << shift;
    if ((byte & 0x80) == 0) {
      if (byte == 0 && shift != 0) break;
      return value;
    }
  }
  return fail(Code::kInvalid, "{}: malformed varint before offset {}", what_, offset_);
}

void ByteWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) u8(static_cast<uint8_t>(value) | 0x80);
  u8(static_cast<uint8_t>(value));
}

}  // namespace runnel
