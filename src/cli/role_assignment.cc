#include "cli/role_assignment.h"

#include <algorithm>
#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/report.h"
#include "cli/session.h"
#include "net/url.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr std::string_view kPath = "/runnel/v1/_role-assignments";
constexpr std::string_view kAzureRegistries = "/providers/microsoft.containerregistry/registries/";
constexpr std::string_view kAzureRepositories = "/repositories/";
constexpr std::string_view kPerson = "user:";
constexpr size_t kMaxListed = 1'000'000;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

remote::ApiCall call_to(const char* method, std::string path, std::string what) {
  remote::ApiCall call;
  call.method = method;
  call.path = std::move(path);
  call.what = std::move(what);
  call.in_person = true;
  return call;
}

// Whether a pattern of repositories covers all that another one does.
bool covers(std::string_view wide, std::string_view narrow) {
  if (wide == narrow) return true;
  if (!wide.ends_with('*')) return false;
  wide.remove_suffix(1);
  return narrow.starts_with(wide);
}

struct Wanted {
  std::string assignee;
  std::string role;
  std::string scope;
  bool inherited = false;
};

Outcome<Wanted> wanted_of(const RoleAssignmentOptions& options) {
  Wanted out{.assignee = options.assignee,
             .role = options.role,
             .scope = {},
             .inherited = options.inherited};
  if (out.assignee.starts_with(kPerson)) out.assignee.erase(0, kPerson.size());
  if (!options.scope.empty()) {
    RUNNEL_TRY(out.scope, scope_of(options.scope));
  }
  return out;
}

bool fits(const json::object& assignment, const Wanted& wanted) {
  const auto scope = text_of(assignment, "scope");
  const bool in_scope = wanted.scope.empty() || scope == wanted.scope ||
                        (wanted.inherited && covers(scope, wanted.scope));
  return in_scope &&
         (wanted.assignee.empty() || text_of(assignment, "principalName") == wanted.assignee) &&
         (wanted.role.empty() ||
          lower(text_of(assignment, "roleDefinitionName")) == lower(wanted.role));
}

Result<json::array> fitting(const Session& session, const Wanted& wanted) {
  RUNNEL_TRY(const auto all, session.list(call_to("GET", std::string(kPath), "role assignments"),
                                          "roleAssignments", kMaxListed));
  json::array out;
  for (const auto& each : all)
    if (each.is_object() && fits(each.get_object(), wanted)) out.push_back(each);
  return out;
}

Outcome<void> create(const RoleAssignmentOptions& options) {
  RUNNEL_TRY(const auto wanted, wanted_of(options));
  RUNNEL_TRY(const auto session, Session::open(options.api));
  auto call = call_to("POST", std::string(kPath),
                      fmt::format("role {} for {}", wanted.role, wanted.assignee));
  const json::object body{{"assignee", wanted.assignee},
                          {"role", wanted.role},
                          {"scope", wanted.scope.empty() ? "*" : wanted.scope}};
  call.body = json::serialize(body);
  // The same assignment is made once, however often it is asked for.
  RUNNEL_TRY(const auto made, session.call(call, true));
  return show(options.api.output, made);
}

Outcome<void> list(const RoleAssignmentOptions& options) {
  RUNNEL_TRY(const auto wanted, wanted_of(options));
  RUNNEL_TRY(const auto session, Session::open(options.api));
  RUNNEL_TRY(const auto found, fitting(session, wanted));
  return show(options.api.output, found);
}

Result<void> remove_one(const Session& session, std::string_view id) {
  const auto name = id.substr(id.rfind('/') == std::string_view::npos ? 0 : id.rfind('/') + 1);
  const auto call = call_to("DELETE", fmt::format("{}/{}", kPath, net::percent_encode(name)),
                            fmt::format("role assignment {}", name));
  RUNNEL_TRY([[maybe_unused]] const auto gone, session.call(call));
  return {};
}

Outcome<void> remove(const RoleAssignmentOptions& options) {
  RUNNEL_TRY(const auto wanted, wanted_of(options));
  const bool selects = !(wanted.assignee.empty() && wanted.role.empty() && wanted.scope.empty());
  if (!options.ids.empty() && selects)
    return usage_error("with --ids nothing else says which role assignments are meant");
  RUNNEL_TRY(const auto session, Session::open(options.api));
  if (!options.ids.empty()) {
    for (const auto& id : options.ids) RUNNEL_DO(remove_one(session, id));
    return {};
  }
  if (!selects)
    RUNNEL_DO(confirm(options.api.yes, fmt::format("This will delete all role assignments of {}. "
                                                   "Are you sure?",
                                                   session.host())));
  RUNNEL_TRY(const auto found, fitting(session, wanted));
  size_t deleted = 0;
  size_t configured = 0;
  for (const auto& each : found) {
    const auto name = text_of(each.get_object(), "name");
    if (name.empty()) {
      ++configured;
      continue;
    }
    RUNNEL_DO(remove_one(session, name));
    ++deleted;
  }
  if (deleted > 0) return {};
  return fail(Code::kNotFound, "No matched assignments were found to delete{}",
              configured > 0 ? ": what fits comes from the registry's configuration "
                               "([users.NAME] in registry.toml), and is taken away there"
                             : "");
}

}  // namespace

Outcome<std::string> scope_of(const std::string& text) {
  if (!text.starts_with('/')) return text;
  const auto found = lower(text).find(kAzureRegistries);
  if (found == std::string::npos)
    return usage_error(
        "--scope {}: a repository, a pattern such as 'team/*', '*' for all, or the "
        "resource ID of a registry",
        text);
  const auto rest = std::string_view(text).substr(found + kAzureRegistries.size());
  const auto repository = rest.find(kAzureRepositories);
  if (repository == std::string_view::npos) return "*";
  return std::string(rest.substr(repository + kAzureRepositories.size()));
}

int role_assignment_create(const RoleAssignmentOptions& options) {
  return exit_code(create(options));
}

int role_assignment_list(const RoleAssignmentOptions& options) {
  return exit_code(list(options));
}

int role_assignment_delete(const RoleAssignmentOptions& options) {
  return exit_code(remove(options));
}

}  // namespace runnel::cli
