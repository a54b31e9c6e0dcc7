// Role assignments: roles that an Owner gives people at run time, besides those that the
// configuration gives them (documents of the metadata store).
//
// They only add: what the configuration grants cannot be taken away here, so nobody locks the
// configuration's Owner out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/grant.h"
#include "base/clock.h"
#include "base/error.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

struct RoleAssignment {
  std::string id;        // of the registry's making when it is new
  std::string assignee;  // a person's name
  std::string role;      // one that access::role() knows
  std::string scope;     // a repository, or a pattern: access::check_pattern()
  WallTime created;
  std::string created_by;  // as Caller::id() says it
};

// Any thread; calls block. Each request of a person looks up theirs, which is one document.
class RoleAssignments {
 public:
  explicit RoleAssignments(meta::MetadataStore& metadata) : metadata_(metadata) {}

  Result<std::vector<RoleAssignment>> of(std::string_view assignee) const;
  // By assignee. kExhausted beyond ten thousand people.
  Result<std::vector<RoleAssignment>> all() const;
  // What they allow together.
  Result<access::Grants> grants(std::string_view assignee) const;
  // The assignment as it is kept: the one that was there when it gives the same. kInvalid or
  // kNotFound for a role or scope that is none; kExhausted when the person has 100.
  Result<RoleAssignment> add(RoleAssignment assignment) const;
  // False when there was none.
  Result<bool> remove(std::string_view assignee, std::string_view id) const;

 private:
  meta::MetadataStore& metadata_;
};

}  // namespace runnel::registry
