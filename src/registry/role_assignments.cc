#include "registry/role_assignments.h"

#include <algorithm>
#include <boost/json.hpp>

#include "access/secret.h"
#include "base/quote.h"
#include "meta/stored_time.h"
#include "registry/token_store.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "role-assignments";
constexpr size_t kMaxOfOne = 100;
constexpr size_t kMaxPeople = 10'000;
// Nobody guesses an ID to do harm: it is a name, and this is long enough for no two to meet.
constexpr size_t kIdLength = 22;

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::string body_of(const std::vector<RoleAssignment>& all) {
  json::array list;
  for (const auto& each : all)
    list.push_back(json::object{{"id", each.id},
                                {"role", each.role},
                                {"scope", each.scope},
                                {"created", meta::to_milliseconds(each.created)},
                                {"createdBy", each.created_by}});
  return json::serialize(list);
}

// Written here: one that cannot be read was damaged, and grants nothing.
Result<std::vector<RoleAssignment>> assignments_of(const meta::Document& document) {
  json::error_code failed;
  const auto value = json::parse(document.body, failed);
  if (failed || !value.is_array())
    return fail(Code::kUnavailable,
                "the role assignments of {} are damaged: restore the registry's "
                "database",
                document.name);
  std::vector<RoleAssignment> out;
  for (const auto& each : value.get_array()) {
    const auto* object = each.if_object();
    const auto* created = object != nullptr ? object->if_contains("created") : nullptr;
    if (created == nullptr || !created->is_int64()) continue;
    out.push_back({.id = text_of(*object, "id"),
                   .assignee = document.name,
                   .role = text_of(*object, "role"),
                   .scope = text_of(*object, "scope"),
                   .created = meta::from_milliseconds(created->get_int64()),
                   .created_by = text_of(*object, "createdBy")});
  }
  return out;
}

}  // namespace

Result<std::vector<RoleAssignment>> RoleAssignments::of(std::string_view assignee) const {
  RUNNEL_TRY(const auto document, metadata_.document(kKind, assignee));
  if (!document) return std::vector<RoleAssignment>();
  return assignments_of(*document);
}

Result<std::vector<RoleAssignment>> RoleAssignments::all() const {
  RUNNEL_TRY(const auto documents, metadata_.documents(kKind, "", kMaxPeople + 1));
  if (documents.size() > kMaxPeople)
    return fail(Code::kExhausted, "more than {} people have roles: ask for one of them",
                kMaxPeople);
  std::vector<RoleAssignment> out;
  for (const auto& document : documents) {
    RUNNEL_TRY(const auto of_one, assignments_of(document));
    out.insert(out.end(), of_one.begin(), of_one.end());
  }
  return out;
}

Result<access::Grants> RoleAssignments::grants(std::string_view assignee) const {
  RUNNEL_TRY(const auto all, of(assignee));
  access::Grants out;
  for (const auto& each : all) {
    // A role that a later version has means nothing to this one.
    if (const auto actions = access::role(each.role)) out.emplace_back(each.scope, *actions);
  }
  return out;
}

Result<RoleAssignment> RoleAssignments::add(RoleAssignment assignment) const {
  RUNNEL_DO(access::role(assignment.role));
  RUNNEL_DO(access::check_pattern(assignment.scope));
  assignment.id = access::make_secret().substr(0, kIdLength);
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto document, metadata_.document(kKind, assignment.assignee));
    std::vector<RoleAssignment> all;
    if (document) {
      RUNNEL_TRY(all, assignments_of(*document));
    }
    const auto same = std::ranges::find_if(all, [&](const RoleAssignment& each) {
      return each.role == assignment.role && each.scope == assignment.scope;
    });
    if (same != all.end()) return *same;
    if (all.size() >= kMaxOfOne)
      return fail(Code::kExhausted,
                  "{} has {} role assignments, and no more than that: use "
                  "patterns such as \"team/*\"",
                  quote(assignment.assignee), kMaxOfOne);
    all.push_back(assignment);
    const auto put = metadata_.put_document(kKind, assignment.assignee, body_of(all),
                                            document ? document->version : 0);
    if (put) return assignment;
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(put.error());
  }
}

Result<bool> RoleAssignments::remove(std::string_view assignee, std::string_view id) const {
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto document, metadata_.document(kKind, assignee));
    if (!document) return false;
    RUNNEL_TRY(auto all, assignments_of(*document));
    if (std::erase_if(all, [&](const RoleAssignment& each) { return each.id == id; }) == 0)
      return false;
    // An empty list stays as a document: deleting one cannot be made to depend on its version.
    const auto put = metadata_.put_document(kKind, assignee, body_of(all), document->version);
    if (put) return true;
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(put.error());
  }
}

}  // namespace runnel::registry
