// Attributes of repositories, tags and manifests over "/acr/v1/…".
#pragma once

#include "cli/failure.h"
#include "cli/repository.h"
#include "cli/session.h"

namespace runnel::cli {

// What an attributes call is about.
struct AttributesTarget {
  std::string repository;
  std::string tag;  // neither of the two: the repository itself
  std::optional<oci::Digest> digest;
};

// What the registry says of it: for a tag or a manifest the object of that name.
Result<boost::json::value> read_attributes(const Session& session, const AttributesTarget& target);
// The same after the change. kInvalid when there is nothing to change.
Outcome<boost::json::value> change_attributes(const Session& session,
                                              const AttributesTarget& target,
                                              const AttributeChanges& changes);

}  // namespace runnel::cli
