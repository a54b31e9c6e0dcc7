#include "base/json_record.h"

#include <boost/json.hpp>

namespace runnel {

namespace {

namespace json = boost::json;

std::unexpected<Error> is_no(std::string_view name, std::string_view what) {
  return fail(Code::kInvalid, "\"{}\" is no {}", name, what);
}

}  // namespace

Result<json::object> parse_json_record(Bytes bytes) {
  boost::system::error_code error;
  auto parsed = json::parse(std::string(as_text(bytes)), error);
  if (error || !parsed.is_object()) return fail(Code::kInvalid, "it is no JSON object");
  return std::move(parsed.get_object());
}

Result<bool> bool_in(const json::object& record, std::string_view name) {
  const auto* value = record.if_contains(name);
  if (value == nullptr || !value->is_bool()) return is_no(name, "yes or no");
  return value->get_bool();
}

Result<std::string> text_in(const json::object& record, std::string_view name) {
  const auto* value = record.if_contains(name);
  if (value == nullptr || !value->is_string()) return is_no(name, "text");
  return std::string(value->get_string());
}

Result<uint32_t> number_in(const json::object& record, std::string_view name) {
  const auto* value = record.if_contains(name);
  if (value == nullptr) return is_no(name, "number");
  boost::system::error_code error;
  const auto number = value->to_number<uint32_t>(error);
  if (error) return is_no(name, "such number");
  return number;
}

Result<const json::array*> list_in(const json::object& record, std::string_view name) {
  const auto* value = record.if_contains(name);
  if (value == nullptr || !value->is_array()) return is_no(name, "list");
  return &value->get_array();
}

Result<std::vector<std::string>> texts_in(const json::object& record, std::string_view name) {
  RUNNEL_TRY(const auto* list, list_in(record, name));
  std::vector<std::string> texts;
  for (const auto& each : *list) {
    if (!each.is_string()) return fail(Code::kInvalid, "\"{}\" holds more than texts", name);
    texts.emplace_back(each.get_string());
  }
  return texts;
}

Result<void> check_version(const json::object& record, uint32_t version) {
  RUNNEL_TRY(const auto found, number_in(record, "version"));
  if (found == version) return {};
  return fail(Code::kUnsupported, "it is not of version {}; use the program that wrote it",
              version);
}

}  // namespace runnel
