// What an Owner manages: tokens and scope maps (here), role assignments (role_assignments_api.h),
// and for how long deletions can be undone (soft_delete_policy_api.h).
//
//   GET    /runnel/v1/_scope-maps            {"scopeMaps":[…]}
//   GET    /runnel/v1/_scope-maps/NAME
//   PUT    /runnel/v1/_scope-maps/NAME       {"description":"…",
//                                            "actions":["repositories/team/*/content/read"]}
//   DELETE /runnel/v1/_scope-maps/NAME
//   GET    /runnel/v1/_tokens                {"tokens":[…]}: without their passwords
//   GET    /runnel/v1/_tokens/NAME
//   PUT    /runnel/v1/_tokens/NAME           {"scopeMap":"NAME","status":"enabled"|"disabled"}
//   POST   /runnel/v1/_tokens/NAME:generate  {"name":"password1","days":30}: makes up a password,
//                                            which only this answer has
//   DELETE /runnel/v1/_tokens/NAME
#pragma once

#include "registry/reply.h"
#include "registry/services.h"

namespace runnel::registry {

// Whether the path is below /runnel/v1/.
bool is_management(std::string_view path);

net::awaitable<Answer> handle_management(Services& services, net::Request& request,
                                         net::RequestBody& body);

}  // namespace runnel::registry
