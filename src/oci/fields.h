// Takes members out of a parsed JSON object: checks their types, and names them when they are
// wrong. Internal to oci/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/descriptor.h"

namespace boost::json {
class object;
class value;
}  // namespace boost::json

namespace runnel::oci {

// Of every function: an absent member and null are the same; `where` starts messages.

// kInvalid when `bytes` are not one JSON object, kExhausted when more than `limit`.
Result<boost::json::value> parse_json_object(Bytes bytes, size_t limit, std::string_view where);

const boost::json::value* member(const boost::json::object& object, std::string_view key);
// Empty when absent.
Result<std::string> text_member(const boost::json::object& object, std::string_view key,
                                std::string_view where);
Result<std::vector<std::string>> texts_member(const boost::json::object& object,
                                              std::string_view key, std::string_view where);
Result<Annotations> annotations_member(const boost::json::object& object, std::string_view where);
Result<Descriptor> descriptor_of(const boost::json::value& value, std::string_view where);

// For the writers.
boost::json::object json_of(const Descriptor& descriptor);
boost::json::object json_of(const Annotations& annotations);

}  // namespace runnel::oci
