// Grants: which actions in which repositories. Roles of people, scope maps of tokens and the limits
// of a signed token are all lists of grants.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "access/action.h"
#include "base/error.h"

namespace runnel::access {

struct Grant {
  Grant() = default;
  Grant(std::string repositories, Actions given)
      : pattern(std::move(repositories)), actions(given) {}

  // A repository's name; "team/*" for everything below team/, "*" for every repository. A "*"
  // stands at the end only.
  std::string pattern;
  Actions actions;

  bool operator==(const Grant&) const = default;
};

using Grants = std::vector<Grant>;

// Whether a pattern means the repository.
bool matches(std::string_view pattern, std::string_view repository);
// kInvalid for a "*" that is not the last character, or an empty pattern.
Result<void> check_pattern(std::string_view pattern);

// What the grants together allow in the repository.
Actions allowed(const Grants& grants, std::string_view repository);

// A role's actions: "AcrPull" (content and metadata to read), "AcrPush" (and to write), "AcrDelete"
// (content to delete), "Converter" (AcrPush and convert), "Owner" (everything). kNotFound for
// another name.
Result<Actions> role(std::string_view name);

// The grants of a scope map that every registry has: "_repositories_pull",
// "_repositories_pull_metadata_read", "_repositories_push", "_repositories_push_metadata_write",
// "_repositories_admin". kNotFound for another name.
Result<Grants> system_scope_map(std::string_view name);
std::vector<std::string> system_scope_maps();

// A scope map's line, "repositories/team/app/content/read". kInvalid for anything else.
Result<Grant> parse_scope_map_action(std::string_view text);
// The lines of the grants, sorted.
std::vector<std::string> to_scope_map_actions(const Grants& grants);

}  // namespace runnel::access
