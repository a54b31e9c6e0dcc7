#include "registry/management_call.h"

#include <boost/json.hpp>

#include "base/quote.h"

namespace runnel::registry {

namespace json = boost::json;

std::unexpected<Refusal> not_here(std::string_view method) {
  return refuse(405, "UNSUPPORTED", fmt::format("{} is not possible here", quote(method)));
}

std::unexpected<Refusal> unknown(std::string_view what, std::string_view name) {
  return refuse(404, "NAME_UNKNOWN", fmt::format("there is no {} {}", what, quote(name)));
}

net::Response management_answer(const json::object& body) {
  auto response = json_response(200, "application/json", json::serialize(body));
  response.headers.add("Cache-Control", "no-store");
  return response;
}

std::expected<std::string, Refusal> text_member(const json::object& object, std::string_view name,
                                                std::string_view otherwise) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return std::string(otherwise);
  if (!value->is_string())
    return refuse(400, "UNSUPPORTED", fmt::format("\"{}\" is not a text", name));
  return std::string(value->get_string());
}

std::expected<json::object, Refusal> parse_object(Bytes bytes) {
  if (bytes.empty()) return json::object();
  json::error_code failed;
  auto value = json::parse(as_text(bytes), failed);
  if (failed || !value.is_object())
    return refuse(400, "UNSUPPORTED", "the body is not a JSON object");
  return std::move(value.get_object());
}

}  // namespace runnel::registry
