#include "tar/sparse.h"

#include <limits>

namespace runnel::tar {
namespace {

constexpr size_t kPairSize = 24;

Result<void> add_pairs(const Block& block, size_t offset, size_t count, SparseMap& map) {
  for (size_t i = 0; i < count; ++i) {
    const Bytes pair = Bytes(block).subspan(offset + i * kPairSize, kPairSize);
    if (pair[0] == std::byte{0}) break;
    RUNNEL_TRY(const int64_t at, parse_number(pair.first(12)));
    RUNNEL_TRY(const int64_t length, parse_number(pair.last(12)));
    RUNNEL_DO(map.add(at, length));
  }
  return {};
}

}  // namespace

Result<void> SparseMap::add(int64_t offset, int64_t length) {
  if (parts_.size() >= max_extents_)
    return fail(Code::kExhausted, "a sparse file has more than {} parts", max_extents_);
  if (offset < 0 || length < 0 || offset > std::numeric_limits<int64_t>::max() - length)
    return fail(Code::kInvalid, "a sparse file's part of {} bytes at {} is impossible", length,
                offset);
  parts_.push_back({static_cast<uint64_t>(offset), static_cast<uint64_t>(length)});
  return {};
}

Result<std::vector<Extent>> SparseMap::check(uint64_t size, uint64_t stored) const {
  std::vector<Extent> extents;
  uint64_t end = 0;
  uint64_t total = 0;
  for (const auto& part : parts_) {
    if (part.offset < end)
      return fail(Code::kInvalid, "a sparse file's parts overlap or descend at {}", part.offset);
    const bool touches = !extents.empty() && part.offset == end;
    end = part.offset + part.length;
    if (end > size)
      return fail(Code::kInvalid, "a sparse file's part ends at {}, the file at {}", end, size);
    total += part.length;
    if (part.length == 0) continue;
    if (touches) {
      extents.back().length += part.length;
    } else {
      extents.push_back(part);
    }
  }
  if (total != stored)
    return fail(Code::kInvalid, "a sparse file's parts have {} bytes, the archive {} for them",
                total, stored);
  return extents;
}

Result<bool> add_old_gnu_header(const Block& block, SparseMap& map) {
  RUNNEL_DO(add_pairs(block, 386, 4, map));
  return block[482] != std::byte{0};
}

Result<bool> add_old_gnu_extension(const Block& block, SparseMap& map) {
  RUNNEL_DO(add_pairs(block, 0, 21, map));
  return block[504] != std::byte{0};
}

Result<int64_t> old_gnu_real_size(const Block& block) {
  return parse_number(Bytes(block).subspan(483, 12));
}

PaxSparse pax_sparse_of(const PaxRecords& records) {
  const std::string_view major = records.get("GNU.sparse.major");
  const std::string_view minor = records.get("GNU.sparse.minor");
  if (major == "1" && minor == "0") return PaxSparse::kInData;
  if (major == "0" && (minor == "0" || minor == "1")) return PaxSparse::kInRecords;
  // A version that nobody knows: Go gives the file as it is stored, and so must this.
  if (!major.empty() || !minor.empty()) return PaxSparse::kNot;
  return records.get("GNU.sparse.map").empty() ? PaxSparse::kNot : PaxSparse::kInRecords;
}

Result<void> add_pax_records(const PaxRecords& records, SparseMap& map) {
  RUNNEL_TRY(const int64_t count, parse_decimal(records.get("GNU.sparse.numblocks")));
  std::string_view text = records.get("GNU.sparse.map");
  const auto next = [&]() -> Result<int64_t> {
    const size_t comma = text.find(',');
    auto number = parse_decimal(text.substr(0, comma));
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
    return number;
  };
  int64_t parts = 0;
  // A comma at the end leaves an empty number, which the count then shows.
  const bool ends_in_comma = text.ends_with(',');
  for (; !text.empty(); ++parts) {
    RUNNEL_TRY(const int64_t offset, next());
    RUNNEL_TRY(const int64_t length, next());
    RUNNEL_DO(map.add(offset, length));
  }
  if (parts != count || ends_in_comma)
    return fail(Code::kInvalid, "GNU.sparse.map has {} parts where numblocks says {}", parts,
                count);
  return {};
}

Result<bool> SparseMapText::add(const Block& block) {
  size_ += block.size();
  if (size_ > max_size_)
    return fail(Code::kExhausted, "a sparse file's map is longer than {} bytes", max_size_);
  std::string_view text = as_text(block);
  // Go reads no more blocks than the lines need, and what follows the last line is filling.
  while (lines_left_ != 0) {
    const size_t newline = text.find('\n');
    line_ += text.substr(0, newline);
    if (newline == text.npos) return false;
    RUNNEL_DO(take_line(line_));
    line_.clear();
    text.remove_prefix(newline + 1);
  }
  return true;
}

Result<void> SparseMapText::take_line(std::string_view line) {
  const auto number = parse_decimal(line);
  if (!number) return fail(Code::kInvalid, "a sparse file's map has a line that is not a number");
  if (!lines_left_) {
    if (*number < 0 || static_cast<uint64_t>(*number) > max_size_)
      return fail(Code::kInvalid, "a sparse file's map says it has {} parts", *number);
    lines_left_ = 2 * static_cast<uint64_t>(*number);
    return {};
  }
  --*lines_left_;
  if (!offset_) {
    offset_ = *number;
    return {};
  }
  const int64_t offset = *offset_;
  offset_.reset();
  return map_.add(offset, *number);
}

}  // namespace runnel::tar
