#include "cli/token.h"

#include <algorithm>
#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/report.h"
#include "cli/scope_map_rights.h"
#include "cli/session.h"
#include "net/url.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr std::string_view kTokens = "_tokens";
constexpr std::string_view kScopeMaps = "_scope-maps";
constexpr size_t kMaxListed = 1'000'000;

// One registry's tokens and scope maps, as the person that the options name: only an Owner may.
class Management {
 public:
  static Outcome<Management> open(const TokenOptions& options) {
    RUNNEL_TRY(auto session, Session::open(options.api));
    return Management(std::move(session));
  }

  Result<json::array> list(std::string_view kind, std::string_view member) const {
    return session_.list(call("GET", kind, {}), member, kMaxListed);
  }
  Result<json::object> get(std::string_view kind, std::string_view name) const {
    return object(call("GET", kind, name));
  }
  Result<json::object> put(std::string_view kind, std::string_view name,
                           const json::object& body) const {
    auto change = call("PUT", kind, name);
    change.body = json::serialize(body);
    return object(change);
  }
  Result<void> remove(std::string_view kind, std::string_view name) const {
    RUNNEL_TRY([[maybe_unused]] const auto gone, session_.call(call("DELETE", kind, name)));
    return {};
  }
  // {"username", "name", "value", "creationTime", "expiry"}
  Result<json::object> generate(const TokenOptions& options, const char* password) const {
    json::object body{{"name", password}};
    if (options.days) body["days"] = *options.days;
    auto change = call("POST", kTokens, options.name);
    change.path += ":generate";
    change.body = json::serialize(body);
    return object(change);
  }

 private:
  explicit Management(Session session) : session_(std::move(session)) {}

  static remote::ApiCall call(const char* method, std::string_view kind, std::string_view name) {
    remote::ApiCall out;
    out.method = method;
    out.path =
        fmt::format("/runnel/v1/{}{}{}", kind, name.empty() ? "" : "/", net::percent_encode(name));
    out.what = kind == kTokens ? "token" : "scope map";
    out.what += name.empty() ? "s" : " " + std::string(name);
    out.in_person = true;
    return out;
  }
  Result<json::object> object(const remote::ApiCall& what) const {
    RUNNEL_TRY(auto answer, session_.call(what));
    if (!answer.is_object())
      return fail(Code::kInvalid, "{}: {}: the answer is no object", session_.host(), what.what);
    return std::move(answer.get_object());
  }

  Session session_;
};

// What both passwords are called, or the one that is wanted.
std::vector<const char*> passwords_of(const TokenOptions& options) {
  std::vector<const char*> wanted;
  if (options.first || !options.second) wanted.push_back("password1");
  if (options.second || !options.first) wanted.push_back("password2");
  return wanted;
}

// The names that clients of ACR look for.
json::object shown(json::object token) {
  if (const auto* map = token.if_contains("scopeMap")) token["scopeMapId"] = *map;
  return token;
}

Outcome<json::array> new_passwords(const Management& registry, const TokenOptions& options) {
  json::array made;
  for (const char* name : passwords_of(options)) {
    RUNNEL_TRY(auto password, registry.generate(options, name));
    password.erase("username");
    made.push_back(std::move(password));
  }
  return made;
}

// All actions that the flags name.
Outcome<json::array> actions_of(const TokenOptions& options) {
  RUNNEL_TRY(const auto lines, scope_map_lines(options.rights));
  json::array out(options.actions.begin(), options.actions.end());
  for (const auto& line : lines) out.emplace_back(line);
  return out;
}

Outcome<void> list(const TokenOptions& options, std::string_view kind, std::string_view member) {
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_TRY(auto all, registry.list(kind, member));
  for (auto& each : all)
    if (each.is_object()) each = shown(std::move(each.get_object()));
  return show(options.api.output, all);
}

Outcome<void> show_one(const TokenOptions& options, std::string_view kind) {
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_TRY(auto found, registry.get(kind, options.name));
  return show(options.api.output, shown(std::move(found)));
}

Outcome<void> create(const TokenOptions& options) {
  RUNNEL_TRY(const auto actions, actions_of(options));
  if (actions.empty() == options.scope_map.empty())
    return usage_error(
        "--scope-map SCOPE_MAP | --repository REPOSITORY "
        "ACTION [ACTION …]");
  RUNNEL_TRY(const auto registry, Management::open(options));
  json::object body{{"scopeMap", options.scope_map}};
  if (!actions.empty()) {
    RUNNEL_DO(registry.put(kScopeMaps, options.name, {{"actions", actions}}));
    body["scopeMap"] = options.name;
  }
  if (!options.status.empty()) body["status"] = options.status;
  RUNNEL_TRY(auto token, registry.put(kTokens, options.name, body));
  if (options.no_passwords) return show(options.api.output, shown(std::move(token)));
  RUNNEL_TRY(auto passwords, new_passwords(registry, options));
  token["credentials"] = json::object{{"username", options.name}, {"passwords", passwords}};
  return show(options.api.output, shown(std::move(token)));
}

// Looked at first: PUT would make a token that is not there.
Outcome<void> update(const TokenOptions& options) {
  if (options.scope_map.empty() && options.status.empty())
    return usage_error("nothing to change: say --scope-map or --status");
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_DO(registry.get(kTokens, options.name));
  json::object body;
  if (!options.scope_map.empty()) body["scopeMap"] = options.scope_map;
  if (!options.status.empty()) body["status"] = options.status;
  RUNNEL_TRY(auto token, registry.put(kTokens, options.name, body));
  return show(options.api.output, shown(std::move(token)));
}

Outcome<void> generate(const TokenOptions& options) {
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_TRY(auto passwords, new_passwords(registry, options));
  return show(options.api.output,
              json::object{{"username", options.name}, {"passwords", std::move(passwords)}});
}

Outcome<void> remove(const TokenOptions& options, std::string_view kind, const char* what) {
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_DO(confirm(options.api.yes, fmt::format("Are you sure you want to delete the {} '{}'?",
                                                 what, options.name)));
  return registry.remove(kind, options.name);
}

Outcome<void> create_scope_map(const TokenOptions& options) {
  RUNNEL_TRY(auto actions, actions_of(options));
  if (actions.empty()) return usage_error("--repository REPOSITORY ACTION [ACTION …]");
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_TRY(auto map,
             registry.put(kScopeMaps, options.name,
                          {{"actions", std::move(actions)}, {"description", options.description}}));
  return show(options.api.output, map);
}

Outcome<void> update_scope_map(const TokenOptions& options) {
  RUNNEL_TRY(const auto added, actions_of(options));
  RUNNEL_TRY(const auto taken, scope_map_lines(options.rights_taken));
  if (added.empty() && taken.empty() && options.description.empty())
    return usage_error(
        "nothing to change: say --add-repository, --remove-repository or --description");
  RUNNEL_TRY(const auto registry, Management::open(options));
  RUNNEL_TRY(const auto before, registry.get(kScopeMaps, options.name));
  const auto* held = before.if_contains("actions");
  json::array actions = held != nullptr && held->is_array() ? held->get_array() : json::array();
  for (const auto& each : added)
    if (std::ranges::find(actions, each) == actions.end()) actions.push_back(each);
  for (const auto& line : taken) {
    const auto found = std::ranges::find(actions, json::value(line));
    if (found != actions.end()) actions.erase(found);
  }
  const auto description =
      options.description.empty() ? text_of(before, "description") : options.description;
  RUNNEL_TRY(auto map,
             registry.put(kScopeMaps, options.name,
                          {{"actions", std::move(actions)}, {"description", description}}));
  return show(options.api.output, map);
}

}  // namespace

int token_list(const TokenOptions& options) {
  return exit_code(list(options, kTokens, "tokens"));
}

int token_show(const TokenOptions& options) {
  return exit_code(show_one(options, kTokens));
}

int token_create(const TokenOptions& options) {
  return exit_code(create(options));
}

int token_update(const TokenOptions& options) {
  return exit_code(update(options));
}

int token_generate(const TokenOptions& options) {
  return exit_code(generate(options));
}

int token_delete(const TokenOptions& options) {
  return exit_code(remove(options, kTokens, "token"));
}

int scope_map_list(const TokenOptions& options) {
  return exit_code(list(options, kScopeMaps, "scopeMaps"));
}

int scope_map_show(const TokenOptions& options) {
  return exit_code(show_one(options, kScopeMaps));
}

int scope_map_create(const TokenOptions& options) {
  return exit_code(create_scope_map(options));
}

int scope_map_update(const TokenOptions& options) {
  return exit_code(update_scope_map(options));
}

int scope_map_delete(const TokenOptions& options) {
  return exit_code(remove(options, kScopeMaps, "scope map"));
}

}  // namespace runnel::cli
