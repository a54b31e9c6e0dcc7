// `runnel config soft-delete …`: for how long deletions in a registry of ours can be undone.
#pragma once

#include <optional>
#include <string>

#include "cli/api_options.h"

namespace runnel::cli {

struct SoftDeleteConfigOptions {
  ApiOptions api;
  std::optional<int> days;
  std::string status;  // "enabled", "disabled", "" to leave it
};

// Both print {"lastUpdatedTime", "retentionDays", "status"}.
int soft_delete_config_show(const SoftDeleteConfigOptions& options);
int soft_delete_config_update(const SoftDeleteConfigOptions& options);

}  // namespace runnel::cli
