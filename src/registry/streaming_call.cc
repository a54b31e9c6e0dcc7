#include "registry/streaming_call.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;

namespace {

constexpr size_t kMaxFormatText = 64;

std::expected<void, Refusal> check_name(const StreamingTarget& target) {
  if (oci::is_valid_repository(target.repository)) return {};
  return refuse(400, "NAME_INVALID",
                fmt::format("{} is not a repository's name", quote(target.repository)));
}

}  // namespace

Refusal no_such_operation() {
  return {404, "OPERATION_UNKNOWN", "The specified operation does not exist"};
}

Refusal no_such_repository(std::string_view repository) {
  return {404, "NAME_UNKNOWN", fmt::format("there is no repository {}", repository)};
}

std::expected<void, Refusal> check(const StreamingCall& call, Action action,
                                   const Refusal& absent) {
  RUNNEL_DO(check_name(call.target));
  const Deed deed{.action = action, .repository = call.target.repository};
  return authorize_deed(call.services.gate, call.caller, deed, call.request, absent);
}

std::expected<void, Refusal> check_push(const StreamingCall& call, const Refusal& absent) {
  RUNNEL_DO(check(call, Action::kContentRead, absent));
  RUNNEL_DO(check(call, Action::kContentWrite, absent));
  return check_repository_attributes(call.services.metadata, Attribute::kWrite,
                                     call.target.repository);
}

net::Response streaming_answer(int status, const json::object& body) {
  return json_response(status, kStreamingJson, json::serialize(body));
}

void add_operation_headers(const StreamingCall& call, net::Response& response,
                           const std::string& id) {
  const auto location =
      fmt::format("{}/acr/v1/{}/_operations/{}", base_url(call.services.config, call.request),
                  call.target.repository, id);
  response.headers.add("location", location);
  response.headers.add("operation-location", location);
  response.headers.add("operation-id", id);
}

std::expected<json::object, Refusal> body_object(const StreamingCall& call) {
  if (call.body.empty()) return json::object();
  json::error_code failed;
  auto value = json::parse(as_text(call.body), failed);
  if (failed || !value.is_object())
    return refuse(400, "UNSUPPORTED", "the body is not a JSON object");
  return std::move(value.get_object());
}

std::expected<std::optional<std::string>, Refusal> text_of(const json::object& body,
                                                           std::string_view key) {
  const auto* found = body.if_contains(key);
  if (found == nullptr || found->is_null()) return std::nullopt;
  if (!found->is_string() || found->get_string().size() > kMaxFormatText)
    return refuse(400, "UNSUPPORTED", fmt::format("\"{}\" is a short text", key));
  return std::string(found->get_string());
}

}  // namespace runnel::registry
