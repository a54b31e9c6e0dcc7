// The records of a PAX extended header (type flag 'x' or 'g').
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tar/entry.h"

namespace runnel::tar {

struct Time {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;  // forward from `seconds`

  bool operator==(const Time&) const = default;
};

// The values of the keys that mean something to a reader of images; the others are checked and
// dropped. A key that comes twice has its last value.
class PaxRecords {
 public:
  // kInvalid when a record breaks the format. The text's size is the caller's to bound.
  static Result<PaxRecords> parse(std::string_view text);

  // Empty when the key is absent or its value is, which both mean "as the ustar header says".
  std::string_view get(std::string_view key) const;

  // The same as a number or time; `otherwise` when it is empty.
  Result<int64_t> number(std::string_view key, int64_t otherwise) const;
  Result<Time> time(std::string_view key, Time otherwise) const;

  // The SCHILY.xattr records: here an empty value is a value. kInvalid for one without a name.
  Result<std::vector<std::pair<std::string, Buffer>>> xattrs() const;

 private:
  // GNU sparse format 0.0 repeats two keys, offset and length in turn; they are joined with commas
  // to the map that format 0.1 has in one record.
  Result<void> add(std::string_view key, std::string_view value);
  Result<void> add_sparse_number(bool is_length, std::string_view value);

  std::map<std::string, std::string, std::less<>> values_;
  std::string sparse_map_;
  uint64_t sparse_numbers_ = 0;
};

// Decimal with an optional sign; nothing else around it.
Result<int64_t> parse_decimal(std::string_view text);

// Decimal seconds with an optional fraction; what is finer than nanoseconds is cut off.
Result<Time> parse_pax_time(std::string_view text);

}  // namespace runnel::tar
