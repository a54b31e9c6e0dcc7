#include "registry/streaming_settings.h"

#include <boost/json.hpp>

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "streaming";
constexpr int kAttempts = 10;

Result<StreamingSettings> settings_of(const meta::Document& document) {
  json::error_code failed;
  const auto value = json::parse(document.body, failed);
  if (failed || !value.is_object())
    return fail(Code::kInvalid, "the streaming settings of {} cannot be read", document.name);
  const auto& object = value.get_object();
  StreamingSettings made;
  made.is_set = true;
  if (const auto* found = object.if_contains("convertPushedImages"); found && found->is_bool())
    made.convert_pushed = found->get_bool();
  if (const auto* found = object.if_contains("conversionFormat"); found && found->is_string())
    made.format = found->get_string();
  if (const auto* found = object.if_contains("conversionVersion"); found && found->is_string())
    made.version = found->get_string();
  if (const auto* found = object.if_contains("holdTag"); found && found->is_int64())
    made.hold_tag = std::chrono::seconds(found->get_int64());
  if (const auto* found = object.if_contains("changeId"); found && found->is_string())
    made.change_id = found->get_string();
  if (const auto* found = object.if_contains("changed"); found && found->is_int64())
    made.changed = WallTime(std::chrono::seconds(found->get_int64()));
  return made;
}

std::string body_of(const StreamingSettings& settings) {
  json::object body;
  body["convertPushedImages"] = settings.convert_pushed;
  body["conversionFormat"] = settings.format;
  body["conversionVersion"] = settings.version;
  body["holdTag"] = settings.hold_tag.count();
  body["changeId"] = settings.change_id;
  body["changed"] =
      std::chrono::duration_cast<std::chrono::seconds>(settings.changed.time_since_epoch()).count();
  return json::serialize(body);
}

}  // namespace

Result<StreamingSettings> load_streaming_settings(meta::MetadataStore& metadata,
                                                  std::string_view repository) {
  RUNNEL_TRY(const auto document, metadata.document(kKind, repository));
  if (!document) return StreamingSettings();
  return settings_of(*document);
}

Result<StreamingSettings> change_streaming_settings(
    meta::MetadataStore& metadata, std::string_view repository,
    const std::function<void(StreamingSettings&)>& change) {
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto before, metadata.document(kKind, repository));
    StreamingSettings settings;
    if (before) {
      RUNNEL_TRY(settings, settings_of(*before));
    }
    change(settings);
    settings.is_set = true;
    const auto put =
        metadata.put_document(kKind, repository, body_of(settings), before ? before->version : 0);
    if (put) return settings;
    if (put.error().code != Code::kConflict || attempt == kAttempts)
      return std::unexpected(put.error());
  }
}

}  // namespace runnel::registry
