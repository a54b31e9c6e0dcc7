#include "registry/management_api.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "registry/management_call.h"
#include "registry/request_body.h"
#include "registry/role_assignments_api.h"
#include "registry/soft_delete_policy_api.h"
#include "registry/token_store.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kRoot = "/runnel/v1/";
constexpr size_t kMaxBody = 256 * 1024;
constexpr int64_t kMaxDays = 3650;

json::object to_json(const ScopeMap& map) {
  json::object object;
  object["name"] = map.name;
  object["description"] = map.description;
  object["type"] = map.is_system ? "SystemDefined" : "UserDefined";
  json::array actions;
  for (auto& line : access::to_scope_map_actions(map.grants)) actions.emplace_back(line);
  object["actions"] = std::move(actions);
  return object;
}

json::object to_json(const Token& token) {
  json::object object;
  object["name"] = token.name;
  object["scopeMap"] = token.scope_map;
  object["status"] = token.enabled ? "enabled" : "disabled";
  object["creationDate"] = to_utc_text(token.created);
  json::array passwords;
  for (size_t i = 0; i < token.passwords.size(); ++i) {
    const auto& password = token.passwords[i];
    if (password.hash.empty()) continue;
    json::object entry;
    entry["name"] = fmt::format("password{}", i + 1);
    entry["creationTime"] = to_utc_text(password.created);
    if (password.expires) entry["expiry"] = to_utc_text(*password.expires);
    passwords.push_back(std::move(entry));
  }
  json::object credentials;
  credentials["username"] = token.name;
  credentials["passwords"] = std::move(passwords);
  object["credentials"] = std::move(credentials);
  return object;
}

Answer list_scope_maps(const TokenStore& tokens) {
  RUNNEL_TRY(const auto all, tokens.scope_maps());
  json::array list;
  for (const auto& map : all) list.push_back(to_json(map));
  json::object body;
  body["scopeMaps"] = std::move(list);
  return management_answer(body);
}

Answer put_scope_map(const TokenStore& tokens, const ManagementCall& call) {
  ScopeMap map;
  map.name = call.name;
  RUNNEL_TRY(map.description, text_member(*call.body, "description", ""));
  const auto* actions = call.body->if_contains("actions");
  if (actions == nullptr || !actions->is_array())
    return refuse(400, "UNSUPPORTED",
                  "\"actions\" is missing: a list such as [\"repositories/team/*/content/read\"]");
  for (const auto& line : actions->get_array()) {
    if (!line.is_string()) return refuse(400, "UNSUPPORTED", "\"actions\" is not a list of texts");
    RUNNEL_TRY(auto grant, access::parse_scope_map_action(line.get_string()));
    map.grants.push_back(std::move(grant));
  }
  RUNNEL_DO(tokens.put(map));
  return management_answer(to_json(map));
}

Answer scope_map_call(const TokenStore& tokens, const ManagementCall& call) {
  if (call.name.empty())
    return call.method == "GET" ? list_scope_maps(tokens) : not_here(call.method);
  if (call.method == "PUT") return put_scope_map(tokens, call);
  if (call.method == "DELETE") {
    RUNNEL_TRY(const bool existed, tokens.delete_scope_map(call.name));
    if (!existed) return unknown("scope map", call.name);
    return net::Response(204);
  }
  if (call.method != "GET") return not_here(call.method);
  RUNNEL_TRY(const auto map, tokens.scope_map(call.name));
  if (!map) return unknown("scope map", call.name);
  return management_answer(to_json(*map));
}

Answer list_tokens(const TokenStore& tokens) {
  RUNNEL_TRY(const auto all, tokens.tokens());
  json::array list;
  for (const auto& token : all) list.push_back(to_json(token));
  json::object body;
  body["tokens"] = std::move(list);
  return management_answer(body);
}

// As it shall be: what the call does not name stays.
std::expected<Token, Refusal> wanted_token(const TokenStore& tokens, const ManagementCall& call,
                                           WallTime now) {
  RUNNEL_TRY(auto found, tokens.token(call.name));
  Token fresh;
  fresh.created = now;
  Token token = std::move(found).value_or(std::move(fresh));
  token.name = call.name;
  RUNNEL_TRY(token.scope_map, text_member(*call.body, "scopeMap", token.scope_map));
  RUNNEL_TRY(const auto status,
             text_member(*call.body, "status", token.enabled ? "enabled" : "disabled"));
  if (status != "enabled" && status != "disabled")
    return refuse(400, "UNSUPPORTED", "\"status\" is \"enabled\" or \"disabled\"");
  token.enabled = status == "enabled";
  return token;
}

Answer put_token(const TokenStore& tokens, const ManagementCall& call, WallTime now) {
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto token, wanted_token(tokens, call, now));
    const auto put = tokens.put(token);
    if (put) return management_answer(to_json(token));
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(Refusal(put.error()));
  }
}

Answer generate_password(const TokenStore& tokens, std::string_view name,
                         const ManagementCall& call, WallTime now) {
  RUNNEL_TRY(const auto which, text_member(*call.body, "name", "password1"));
  if (which != "password1" && which != "password2")
    return refuse(400, "UNSUPPORTED", "\"name\" is \"password1\" or \"password2\"");
  std::optional<WallTime> expires;
  if (const auto* days = call.body->if_contains("days")) {
    if (!days->is_int64() || days->get_int64() < 1 || days->get_int64() > kMaxDays)
      return refuse(400, "UNSUPPORTED", fmt::format("\"days\" is 1 to {}", kMaxDays));
    expires = now + std::chrono::days(days->get_int64());
  }
  RUNNEL_TRY(const auto password,
             tokens.generate_password(name, which == "password1" ? 0 : 1, now, expires));
  json::object body;
  body["username"] = name;
  body["name"] = which;
  body["value"] = password;
  body["creationTime"] = to_utc_text(now);
  if (expires) body["expiry"] = to_utc_text(*expires);
  return management_answer(body);
}

Answer token_call(const TokenStore& tokens, const ManagementCall& call, WallTime now) {
  if (call.name.empty()) return call.method == "GET" ? list_tokens(tokens) : not_here(call.method);
  const auto colon = call.name.find(':');
  if (colon != std::string::npos) {
    if (call.method != "POST" || call.name.substr(colon) != ":generate")
      return not_here(call.method);
    return generate_password(tokens, call.name.substr(0, colon), call, now);
  }
  if (call.method == "PUT") return put_token(tokens, call, now);
  if (call.method == "DELETE") {
    RUNNEL_TRY(const bool existed, tokens.delete_token(call.name));
    if (!existed) return unknown("token", call.name);
    return net::Response(204);
  }
  if (call.method != "GET") return not_here(call.method);
  RUNNEL_TRY(const auto token, tokens.token(call.name));
  if (!token) return unknown("token", call.name);
  return management_answer(to_json(*token));
}

// Only an owner, and only by a password: what a token could do would outlive the token.
std::expected<void, Refusal> check_owner(const Gate& gate, const Caller& caller,
                                         const net::Request& request) {
  if (caller.is_owner()) return {};
  if (caller.is_anonymous())
    return std::unexpected(
        gate.unauthorized(request, "", "", "log in with a name that has the role Owner"));
  const auto id = caller.id();
  Refusal refusal(403, "DENIED",
                  fmt::format("{} is not an Owner: [users.NAME] roles = [\"Owner\"] in "
                              "registry.toml, and log in with name and password",
                              id));
  const bool by_token = caller.limit().has_value();
  json::object detail;
  detail["principal"] = id;
  detail["needs"] = "Owner";
  detail["rule"] = by_token ? fmt::format("{} came with a token, which manages nothing", id)
                            : fmt::format("{} does not have the role Owner everywhere", id);
  refusal.detail = json::serialize(detail);
  return std::unexpected(std::move(refusal));
}

// What can be managed: without authentication there is nobody whose rights could be.
enum class Kind : uint8_t { kTokens, kScopeMaps, kRoleAssignments, kSoftDeletePolicy };

std::optional<Kind> kind_of(std::string_view name) {
  if (name == "_tokens") return Kind::kTokens;
  if (name == "_scope-maps") return Kind::kScopeMaps;
  if (name == "_role-assignments") return Kind::kRoleAssignments;
  if (name == "_config") return Kind::kSoftDeletePolicy;
  return std::nullopt;
}

Answer answer(Services& services, Kind kind, const ManagementCall& call) {
  const TokenStore tokens(services.metadata);
  switch (kind) {
    case Kind::kTokens: return token_call(tokens, call, call.now);
    case Kind::kScopeMaps: return scope_map_call(tokens, call);
    case Kind::kRoleAssignments: return role_assignment_call(services, call);
    case Kind::kSoftDeletePolicy: return soft_delete_policy_call(services, call);
  }
  return not_here(call.method);
}

// Who manages: an Owner, or anybody where there is no authentication and so no rights.
net::awaitable<std::expected<Caller, Refusal>> manager(Services& services, Kind kind,
                                                       net::Request& request) {
  if (services.gate == nullptr) {
    if (kind == Kind::kSoftDeletePolicy) co_return Caller::anyone();
    co_return refuse(
        405, "UNSUPPORTED",
        "this registry has no authentication: name a password file ([auth] htpasswd in "
        "registry.toml) first");
  }
  auto caller = co_await services.gate->identify(request);
  if (!caller) co_return std::unexpected(caller.error());
  request.principal = caller->id();
  const auto owner = check_owner(*services.gate, *caller, request);
  if (!owner) co_return std::unexpected(owner.error());
  co_return *std::move(caller);
}

}  // namespace

bool is_management(std::string_view path) {
  return path.starts_with(kRoot);
}

net::awaitable<Answer> handle_management(Services& services, net::Request& request,
                                         net::RequestBody& body) {
  std::string_view rest = request.path;
  rest.remove_prefix(kRoot.size());
  const auto slash = rest.find('/');
  const auto kind = kind_of(rest.substr(0, slash));
  if (!kind)
    co_return refuse(404, "UNSUPPORTED",
                     fmt::format("there is nothing at {}", quote(request.path)));
  const auto caller = co_await manager(services, *kind, request);
  if (!caller) co_return std::unexpected(caller.error());

  const auto bytes = co_await read_whole(body, kMaxBody);
  if (!bytes) co_return std::unexpected(Refusal(bytes.error()));
  const auto parsed = parse_object(*bytes);
  if (!parsed) co_return std::unexpected(parsed.error());
  ManagementCall call;
  call.method = request.method;
  if (slash != std::string_view::npos) call.name = rest.substr(slash + 1);
  call.body = &*parsed;
  call.by = caller->id();
  call.now = services.clock.wall();
  auto work = [&] { return answer(services, *kind, call); };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

}  // namespace runnel::registry
