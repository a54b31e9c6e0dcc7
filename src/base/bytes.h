// Bytes: views, byte order, and a cursor that cannot run past its end.
//
// All of Runnel's own formats are little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Buffer = std::vector<std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

static_assert(std::endian::native == std::endian::little,
              "loads and stores below copy as they are");

// The little-endian integer at `at`, which need not be aligned. The caller has checked the bounds.
template <class Integer>
Integer load_le(const std::byte* at) {
  Integer value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class Integer>
void store_le(std::byte* at, Integer value) {
  std::memcpy(at, &value, sizeof value);
}

// "0a1b…", lower case.
std::string to_hex(Bytes bytes);
// kInvalid unless `text` is an even number of lower-case hex digits.
Result<Buffer> from_hex(std::string_view text);

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr uint64_t div_up(uint64_t value, uint64_t unit) {
  return value / unit + (value % unit != 0 ? 1 : 0);
}

// Reads untrusted bytes from front to back. Every call fails with kInvalid (naming `what` and the
// offset) rather than read past the end. The bytes must outlive the reader and all views it
// returns.
class ByteReader {
 public:
  ByteReader(Bytes bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  Result<uint8_t> u8() { return integer<uint8_t>(); }
  Result<uint16_t> u16() { return integer<uint16_t>(); }
  Result<uint32_t> u32() { return integer<uint32_t>(); }
  Result<uint64_t> u64() { return integer<uint64_t>(); }
  // LEB128, at most ten bytes, no overlong encodings.
  Result<uint64_t> varint();
  Result<Bytes> bytes(uint64_t size);

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }
  bool at_end() const { return remaining() == 0; }

 private:
  template <class Integer>
  Result<Integer> integer() {
    RUNNEL_TRY(Bytes view, bytes(sizeof(Integer)));
    return load_le<Integer>(view.data());
  }

  Bytes bytes_;
  std::string_view what_;
  uint64_t offset_ = 0;
};

// Appends to a buffer what ByteReader reads back.
class ByteWriter {
 public:
  void u8(uint8_t value) { integer(value); }
  void u16(uint16_t value) { integer(value); }
  void u32(uint32_t value) { integer(value); }
  void u64(uint64_t value) { integer(value); }
  void varint(uint64_t value);
  void bytes(Bytes view) { out_.insert(out_.end(), view.begin(), view.end()); }
  void zeros(uint64_t count) { out_.resize(out_.size() + count); }

  uint64_t size() const { return out_.size(); }
  Bytes view() const { return out_; }
  Buffer take() { return std::move(out_); }

 private:
  template <class Integer>
  void integer(Integer value) {
    const auto at = out_.size();
    out_.resize(at + sizeof value);
    store_le(out_.data() + at, value);
  }

  Buffer out_;
};

}  // namespace runnel
