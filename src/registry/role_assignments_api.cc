#include "registry/role_assignments_api.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/quote.h"
#include "registry/role_assignments.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kRoot = "/runnel/v1/_role-assignments/";
constexpr std::string_view kPerson = "user:";
constexpr std::string_view kToken = "token:";
constexpr size_t kMaxName = 255;

// Members as clients of Azure know them.
json::object to_json(const RoleAssignment& assignment) {
  json::object out;
  out["id"] = std::string(kRoot) + assignment.id;
  out["name"] = assignment.id;
  out["principalId"] = assignment.assignee;
  out["principalName"] = assignment.assignee;
  out["principalType"] = "User";
  out["roleDefinitionName"] = assignment.role;
  out["scope"] = assignment.scope;
  out["createdOn"] = to_utc_text(assignment.created);
  out["createdBy"] = assignment.created_by;
  return out;
}

// What registry.toml gives: no assignment, so it has no name and cannot be deleted here.
json::object configured(const std::string& person, std::string_view role, std::string_view scope) {
  json::object out;
  out["id"] = nullptr;
  out["name"] = nullptr;
  out["principalId"] = person;
  out["principalName"] = person;
  out["principalType"] = "User";
  out["roleDefinitionName"] = role;
  out["scope"] = scope;
  out["createdOn"] = nullptr;
  out["createdBy"] = "registry.toml";
  return out;
}

// The names of roles that make these actions up, the widest first.
std::vector<std::string_view> roles_of(access::Actions actions) {
  std::vector<std::string_view> out;
  access::Actions told;
  for (const std::string_view name : {"Owner", "Converter", "AcrPush", "AcrDelete", "AcrPull"}) {
    const auto role = access::role(name).value();
    if ((role & actions) != role || (role & told) == role) continue;
    out.push_back(name);
    told |= role;
  }
  return out;
}

Answer list(Services& services) {
  RUNNEL_TRY(const auto all, RoleAssignments(services.metadata).all());
  json::array entries;
  for (const auto& each : all) entries.push_back(to_json(each));
  for (const auto& [person, grants] : services.config.auth.users)
    for (const auto& grant : grants)
      for (const auto role : roles_of(grant.actions))
        entries.push_back(configured(person, role, grant.pattern));
  return management_answer({{"roleAssignments", std::move(entries)}});
}

// A person's name, with or without what Caller::id() puts before it.
std::expected<std::string, Refusal> person_of(const Services& services, std::string name) {
  if (name.empty()) return refuse(400, "UNSUPPORTED", "\"assignee\" is missing: a person's name");
  if (name.starts_with(kToken))
    return refuse(400, "UNSUPPORTED",
                  fmt::format("{} is a token: what it may do is its scope map", quote(name)));
  if (name.starts_with(kPerson)) name.erase(0, kPerson.size());
  if (name.size() > kMaxName || !services.gate->is_person(name))
    return refuse(404, "NAME_UNKNOWN",
                  fmt::format("there is no person {} in the registry's password file: add it there "
                              "first (htpasswd -B); a token has a scope map instead of roles",
                              quote(name)));
  return name;
}

Answer create(Services& services, const ManagementCall& call) {
  RoleAssignment wanted;
  RUNNEL_TRY(auto assignee, text_member(*call.body, "assignee", ""));
  RUNNEL_TRY(wanted.assignee, person_of(services, std::move(assignee)));
  RUNNEL_TRY(wanted.role, text_member(*call.body, "role", ""));
  RUNNEL_TRY(wanted.scope, text_member(*call.body, "scope", "*"));
  wanted.created = call.now;
  wanted.created_by = call.by;
  const auto role = access::role(wanted.role);
  if (!role) return refuse(400, "UNSUPPORTED", role.error().message);
  const auto pattern = access::check_pattern(wanted.scope);
  if (!pattern || wanted.scope.size() > kMaxName)
    return refuse(400, "NAME_INVALID", pattern ? "\"scope\" is too long" : pattern.error().message);
  RUNNEL_TRY(const auto made, RoleAssignments(services.metadata).add(std::move(wanted)));
  return management_answer(to_json(made));
}

}  // namespace

Answer role_assignment_call(Services& services, const ManagementCall& call) {
  if (call.name.empty()) {
    if (call.method == "GET") return list(services);
    return call.method == "POST" ? create(services, call) : Answer(not_here(call.method));
  }
  if (call.method != "GET" && call.method != "DELETE") return not_here(call.method);
  const RoleAssignments assignments(services.metadata);
  RUNNEL_TRY(const auto all, assignments.all());
  const auto found = std::ranges::find(all, call.name, &RoleAssignment::id);
  if (found == all.end()) return unknown("role assignment", call.name);
  if (call.method == "GET") return management_answer(to_json(*found));
  RUNNEL_TRY(const bool existed, assignments.remove(found->assignee, call.name));
  if (!existed) return unknown("role assignment", call.name);
  return net::Response(204);
}

}  // namespace runnel::registry
