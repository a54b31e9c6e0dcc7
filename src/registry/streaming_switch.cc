// The switch of a repository: whether pushed images are converted, and how.
#include <boost/json.hpp>

#include "registry/operation_json.h"
#include "registry/streaming_call.h"
#include "registry/streaming_settings.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;

namespace {

json::object switch_json(const StreamingSettings& settings) {
  json::object body;
  body["convertPushedImages"] = settings.convert_pushed;
  if (!settings.is_set) return body;
  body["conversionFormat"] = settings.format;
  body["conversionVersion"] = settings.version;
  if (settings.hold_tag.count() > 0) body["holdTag"] = settings.hold_tag.count();
  return body;
}

}  // namespace

Answer show_switch(const StreamingCall& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto settings,
             load_streaming_settings(call.services.metadata, call.target.repository));
  return streaming_answer(200, switch_json(settings));
}

Answer change_switch(const StreamingCall& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto body, body_object(call));
  RUNNEL_TRY(const auto format, text_of(body, "conversionFormat"));
  RUNNEL_TRY(const auto version, text_of(body, "conversionVersion"));
  const auto* convert = body.if_contains("convertPushedImages");
  const auto* hold = body.if_contains("holdTag");
  if (convert == nullptr ? hold == nullptr : !convert->is_bool())
    return refuse(400, "UNSUPPORTED", "\"convertPushedImages\" is true or false");
  if (hold != nullptr &&
      (!hold->is_int64() || hold->get_int64() < 0 || hold->get_int64() > kMaxHoldTag))
    return refuse(400, "UNSUPPORTED",
                  fmt::format("\"holdTag\" is a number of seconds, at most {}", kMaxHoldTag));
  const auto id = meta::random_operation_id();
  const auto change = [&](StreamingSettings& settings) {
    if (convert != nullptr) settings.convert_pushed = convert->get_bool();
    if (hold != nullptr) settings.hold_tag = std::chrono::seconds(hold->get_int64());
    if (format) settings.format = *format;
    if (version) settings.version = *version;
    settings.change_id = id;
    settings.changed = call.services.clock.wall();
  };
  RUNNEL_TRY(const auto settings,
             change_streaming_settings(call.services.metadata, call.target.repository, change));
  auto said = switch_json(settings);
  said["status"] = status_name(meta::OperationStatus::kSucceeded);
  said["id"] = id;
  auto response = streaming_answer(202, said);
  add_operation_headers(call, response, id);
  return response;
}

}  // namespace runnel::registry
