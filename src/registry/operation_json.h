// Operations as the API spells them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "meta/operation_queue.h"
#include "registry/streaming_settings.h"

namespace runnel::registry {

// "NotStarted", "Running", …
std::string_view status_name(meta::OperationStatus status);
std::optional<meta::OperationStatus> parse_status(std::string_view name);

// The document that clients poll: name, resource, status, startTime, progress, details; a Failed
// one has its error besides. `name_prefix` is "Cancel: " in the answer to a cancellation.
std::string operation_json(const meta::Operation& operation, std::string_view name_prefix = {});
// The same of the change that a repository's switch had last, which succeeded at once.
std::string switch_operation_json(std::string_view repository, const StreamingSettings& settings);
// A line of our listing: the same with id, who asked, priority and end.
std::string listed_operation_json(const meta::Operation& operation);

}  // namespace runnel::registry
