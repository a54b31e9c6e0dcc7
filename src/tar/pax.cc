// A record is "LENGTH KEY=VALUE\n" with LENGTH in decimal, counting all of the record, itself and
// the newline too (POSIX.1-2001, pax, "Extended Header"). Keys and values should be UTF-8, but are
// taken as bytes (hdrcharset=BINARY says so openly; many writers just do it).
//
// Keys that are used:
//   path, linkpath, size, uid, gid, mtime        as in the header they replace
//   atime, ctime                                 only checked, because containerd fails on bad ones
//   SCHILY.xattr.NAME                            an extended attribute, value as it is
//   GNU.sparse.*                                 see sparse.h
//
// LIBARCHIVE.xattr.NAME is not used: libarchive writes it beside the SCHILY one, and containerd
// does not read it, so an image that had only these would come out different from an ordinary pull.
#include "tar/pax.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace runnel::tar {
namespace {

constexpr std::string_view kXattrPrefix = "SCHILY.xattr.";
constexpr std::string_view kSparsePrefix = "GNU.sparse.";
constexpr std::array<std::string_view, 8> kPlainKeys = {"path", "linkpath", "size",  "uid",
                                                        "gid",  "mtime",    "atime", "ctime"};
// Of these POSIX says text without NUL; Go refuses records that break it, used or not.
constexpr std::array<std::string_view, 4> kTextKeys = {"path", "linkpath", "uname", "gname"};

bool contains(std::span<const std::string_view> keys, std::string_view key) {
  return std::ranges::find(keys, key) != keys.end();
}

bool is_used(std::string_view key) {
  return contains(kPlainKeys, key) || key.starts_with(kXattrPrefix) ||
         key.starts_with(kSparsePrefix);
}

struct Record {
  std::string_view key;
  std::string_view value;
};

// Takes the first record off `text`.
Result<Record> take_record(std::string_view& text) {
  const size_t space = text.find(' ');
  if (space == text.npos) return fail(Code::kInvalid, "a record has no length");
  const auto length = parse_decimal(text.substr(0, space));
  if (!length || *length <= static_cast<int64_t>(space) + 1 ||
      static_cast<uint64_t>(*length) > text.size())
    return fail(Code::kInvalid, "a record's length is not a number that fits");

  const std::string_view record = text.substr(space + 1, static_cast<size_t>(*length) - space - 1);
  text.remove_prefix(static_cast<size_t>(*length));
  const size_t equals = record.find('=');
  if (record.back() != '\n') return fail(Code::kInvalid, "a record does not end in a newline");
  if (equals == record.npos || equals == 0) return fail(Code::kInvalid, "a record has no key");
  return Record{record.substr(0, equals), record.substr(equals + 1, record.size() - equals - 2)};
}

Result<void> check_no_nul(const Record& record) {
  const bool bad =
      record.key.find('\0') != record.key.npos ||
      (contains(kTextKeys, record.key) && record.value.find('\0') != record.value.npos);
  if (bad) return fail(Code::kInvalid, "a record has a NUL in its key, path or name");
  return {};
}

}  // namespace

Result<int64_t> parse_decimal(std::string_view text) {
  // from_chars takes a minus but not a plus.
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(Code::kInvalid, "not a decimal number of 64 bits");
  return value;
}

Result<Time> parse_pax_time(std::string_view text) {
  const size_t point = text.find('.');
  RUNNEL_TRY(int64_t seconds, parse_decimal(text.substr(0, point)));
  const std::string_view fraction = point == text.npos ? "" : text.substr(point + 1);
  uint32_t nanoseconds = 0;
  uint32_t unit = 100'000'000;
  for (const char digit : fraction) {
    if (digit < '0' || digit > '9') return fail(Code::kInvalid, "a time's fraction is not decimal");
    nanoseconds += static_cast<uint32_t>(digit - '0') * unit;
    unit /= 10;
  }
  if (text.starts_with('-') && nanoseconds > 0) {
    if (seconds == std::numeric_limits<int64_t>::min())
      return fail(Code::kInvalid, "a time before the first second of 64 bits");
    return Time{seconds - 1, 1'000'000'000 - nanoseconds};
  }
  return Time{seconds, nanoseconds};
}

Result<PaxRecords> PaxRecords::parse(std::string_view text) {
  PaxRecords records;
  while (!text.empty()) {
    RUNNEL_TRY(const Record record, take_record(text));
    RUNNEL_DO(check_no_nul(record));
    RUNNEL_DO(records.add(record.key, record.value));
  }
  if (records.sparse_numbers_ > 0)
    records.values_.insert_or_assign("GNU.sparse.map", std::move(records.sparse_map_));
  return records;
}

Result<void> PaxRecords::add(std::string_view key, std::string_view value) {
  if (key == "GNU.sparse.offset") return add_sparse_number(false, value);
  if (key == "GNU.sparse.numbytes") return add_sparse_number(true, value);
  if (is_used(key)) values_.insert_or_assign(std::string(key), std::string(value));
  return {};
}

Result<void> PaxRecords::add_sparse_number(bool is_length, std::string_view value) {
  const bool length_is_next = sparse_numbers_ % 2 == 1;
  if (is_length != length_is_next || value.find(',') != value.npos)
    return fail(Code::kInvalid, "GNU.sparse.offset and numbytes do not come in turn");
  if (sparse_numbers_++ > 0) sparse_map_ += ',';
  sparse_map_ += value;
  return {};
}

std::string_view PaxRecords::get(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? std::string_view() : std::string_view(at->second);
}

Result<int64_t> PaxRecords::number(std::string_view key, int64_t otherwise) const {
  const std::string_view value = get(key);
  if (value.empty()) return otherwise;
  auto number = parse_decimal(value);
  if (!number) return std::unexpected(number.error().in(fmt::format("PAX record {}", key)));
  return number;
}

Result<Time> PaxRecords::time(std::string_view key, Time otherwise) const {
  const std::string_view value = get(key);
  if (value.empty()) return otherwise;
  auto time = parse_pax_time(value);
  if (!time) return std::unexpected(time.error().in(fmt::format("PAX record {}", key)));
  return time;
}

Result<std::vector<std::pair<std::string, Buffer>>> PaxRecords::xattrs() const {
  std::vector<std::pair<std::string, Buffer>> result;
  for (auto at = values_.lower_bound(kXattrPrefix);
       at != values_.end() && at->first.starts_with(kXattrPrefix); ++at) {
    std::string name = at->first.substr(kXattrPrefix.size());
    if (name.empty()) return fail(Code::kInvalid, "PAX record {} names no attribute", kXattrPrefix);
    const Bytes value = as_bytes(at->second);
    result.emplace_back(std::move(name), Buffer(value.begin(), value.end()));
  }
  return result;
}

}  // namespace runnel::tar
