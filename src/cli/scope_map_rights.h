// What the flags of a scope map say, as the registry's API has it.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "cli/failure.h"

namespace runnel::cli {

// {"team/*", "content/read", "metadata/read", "b", "content/write"} ->
// {"repositories/team/*/content/read", "repositories/team/*/metadata/read",
// "repositories/b/content/write"}. kInvalid when a repository has no action, or the first has no
// repository.
Outcome<std::vector<std::string>> scope_map_lines(const std::vector<std::string>& rights);

}  // namespace runnel::cli
