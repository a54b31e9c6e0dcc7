// For how long deletions can be undone, over HTTP, for an Owner (anybody without authentication):
//
//   GET   /runnel/v1/_config/soft-delete       {"retentionDays", "lastUpdatedTime", "status"}
//   PATCH /runnel/v1/_config/soft-delete       {"retentionDays": 1 to 90, "status": "enabled" |
//                                              "disabled"}, either: the policy after it
#pragma once

#include "registry/management_call.h"
#include "registry/services.h"

namespace runnel::registry {

Answer soft_delete_policy_call(Services& services, const ManagementCall& call);

}  // namespace runnel::registry
