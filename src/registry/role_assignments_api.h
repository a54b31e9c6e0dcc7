// Role assignments over HTTP, for an Owner:
//
//   GET    /runnel/v1/_role-assignments        {"roleAssignments": […]}, what the configuration
//   gives
//                                              included
//   POST   /runnel/v1/_role-assignments        {"assignee", "role", "scope"}: the assignment, also
//                                              when it was there
//   GET    /runnel/v1/_role-assignments/ID
//   DELETE /runnel/v1/_role-assignments/ID     204
#pragma once

#include "registry/management_call.h"
#include "registry/services.h"

namespace runnel::registry {

Answer role_assignment_call(Services& services, const ManagementCall& call);

}  // namespace runnel::registry
