// What was deleted in a registry of ours and can come back.
#pragma once

#include <string_view>

#include "cli/session.h"

namespace runnel::cli {

// Newest first, of one repository or, when it is empty, of all that the caller may see: objects
// with id (a number), kind, repository, digest, tags, deletedAt, expiresAt; all but the first may
// be absent.
Result<boost::json::array> list_deletions(const Session& session, std::string_view repository);

}  // namespace runnel::cli
