// `runnel role assignment …`: which roles people have in a registry of ours, besides those that its
// configuration gives them.
#pragma once

#include <string>
#include <vector>

#include "cli/api_options.h"
#include "cli/failure.h"

namespace runnel::cli {

struct RoleAssignmentOptions {
  ApiOptions api;
  std::string assignee;  // a person's name
  std::string role;      // "AcrPull"
  // A repository, a pattern of them, "*", or a resource ID of Azure that names one.
  std::string scope;
  bool inherited = false;        // also those whose scope is wider than `scope`
  std::vector<std::string> ids;  // as the list has them; or their last part
};

// What a scope means here: of Azure's resource IDs the repository that they name, "*" without one.
// kInvalid for a resource that is no registry.
Outcome<std::string> scope_of(const std::string& text);

// Prints the assignment, which may have been there.
int role_assignment_create(const RoleAssignmentOptions& options);
// Prints those that fit all that is said.
int role_assignment_list(const RoleAssignmentOptions& options);
// Deletes those, but for what the configuration gives. Fails when there is none.
int role_assignment_delete(const RoleAssignmentOptions& options);

}  // namespace runnel::cli
