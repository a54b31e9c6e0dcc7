// Takes apart a record of our own on a disk: JSON that some version of this program wrote, and
// that a disk or somebody else may have changed since.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace boost::json {
class array;
class object;
}  // namespace boost::json

namespace runnel {

// kInvalid when the bytes are not one JSON object.
Result<boost::json::object> parse_json_record(Bytes bytes);

// Of all: kInvalid, with the member's name, when it is absent or something else.
Result<bool> bool_in(const boost::json::object& record, std::string_view name);
Result<std::string> text_in(const boost::json::object& record, std::string_view name);
Result<uint32_t> number_in(const boost::json::object& record, std::string_view name);
Result<std::vector<std::string>> texts_in(const boost::json::object& record, std::string_view name);
// Lives as long as the record.
Result<const boost::json::array*> list_in(const boost::json::object& record, std::string_view name);

// kUnsupported when "version" is not this one; kInvalid when there is none.
Result<void> check_version(const boost::json::object& record, uint32_t version);

}  // namespace runnel
