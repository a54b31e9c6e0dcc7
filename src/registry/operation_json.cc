#include "registry/operation_json.h"

#include <boost/json.hpp>

#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

using meta::Operation;
using meta::OperationStatus;

namespace {

constexpr OperationStatus kStatuses[] = {OperationStatus::kNotStarted, OperationStatus::kRunning,
                                         OperationStatus::kSucceeded, OperationStatus::kFailed,
                                         OperationStatus::kCanceled};

std::string resource_of(const Operation& operation) {
  return fmt::format("{}@{}", operation.repository, operation.digest);
}

// A canceled operation keeps what it said last.
std::string details_of(const Operation& operation) {
  const bool started = operation.started != WallTime();
  switch (operation.status) {
    case OperationStatus::kSucceeded:
      return "Conversion succeeded for resource " + resource_of(operation);
    case OperationStatus::kFailed: return fmt::format("{}: {}", operation.code, operation.message);
    case OperationStatus::kNotStarted:
    case OperationStatus::kRunning:
    case OperationStatus::kCanceled: break;
  }
  return fmt::format(
      "Conversion {} for resource {}",
      started && operation.status != OperationStatus::kNotStarted ? "ongoing" : "started",
      resource_of(operation));
}

void add_document(json::object& body, const Operation& operation, std::string_view name_prefix) {
  body["name"] = fmt::format("{}ArtifactStreamingConversion", name_prefix);
  body["resource"] = resource_of(operation);
  body["status"] = status_name(operation.status);
  body["startTime"] = to_utc_text(operation.created);
  body["progress"] = fmt::format("{}%", operation.percent);
  body["details"] = details_of(operation);
  if (operation.status != OperationStatus::kFailed) return;
  json::object error;
  error["code"] = operation.code;
  error["message"] = operation.message;
  body["error"] = std::move(error);
}

}  // namespace

std::string_view status_name(OperationStatus status) {
  switch (status) {
    case OperationStatus::kNotStarted: return "NotStarted";
    case OperationStatus::kRunning: return "Running";
    case OperationStatus::kSucceeded: return "Succeeded";
    case OperationStatus::kFailed: return "Failed";
    case OperationStatus::kCanceled: return "Canceled";
  }
  return "";
}

std::optional<OperationStatus> parse_status(std::string_view name) {
  for (const auto status : kStatuses)
    if (name == status_name(status)) return status;
  return std::nullopt;
}

std::string operation_json(const Operation& operation, std::string_view name_prefix) {
  json::object body;
  add_document(body, operation, name_prefix);
  return json::serialize(body);
}

std::string switch_operation_json(std::string_view repository, const StreamingSettings& settings) {
  json::object body;
  body["name"] = "ArtifactStreamingUpdate";
  body["resource"] = repository;
  body["status"] = status_name(OperationStatus::kSucceeded);
  body["startTime"] = to_utc_text(settings.changed);
  body["progress"] = "100%";
  body["details"] = fmt::format("Conversion of pushed images is {} for repository {}",
                                settings.convert_pushed ? "on" : "off", repository);
  return json::serialize(body);
}

std::string listed_operation_json(const Operation& operation) {
  json::object body;
  body["id"] = operation.id;
  body["repository"] = operation.repository;
  body["digest"] = operation.digest.to_string();
  add_document(body, operation, {});
  if (!is_ongoing(operation.status)) body["endTime"] = to_utc_text(operation.ended);
  body["requestedBy"] = operation.principal;
  body["automatic"] = operation.priority == meta::OperationPriority::kAutomatic;
  return json::serialize(body);
}

}  // namespace runnel::registry
