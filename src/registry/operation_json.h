// Operations as the API spells them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "meta/operation_queue.h"

namespace runnel::registry {

// "NotStarted", "Running", …
std::string_view status_name(meta::OperationStatus status);
std::optional<meta::OperationStatus> parse_status(std::string_view name);

// The document that clients poll: name, resource, status, startTime, progress, details; a Failed
// one has its error besides. `name_prefix` is "Cancel: " in the answer to a cancellation.
std::string operation_json(const meta::Operation& operation, std::string_view name_prefix = {});
// A line of our listing: the same with id, who asked, priority and end.
std::string listed_operation_json(const meta::Operation& operation);

}  // namespace runnel::registry
