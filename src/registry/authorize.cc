#include "registry/authorize.h"

#include <boost/json.hpp>
#include <optional>

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using access::Actions;
using Kind = Route::Kind;

namespace {

constexpr std::string_view kInsufficient = "insufficient_scope";

// What the request does to its repository.
Action needed(const Route& route, std::string_view method) {
  const bool reads = method == "GET" || method == "HEAD";
  switch (route.kind) {
    case Kind::kTags: return Action::kMetadataRead;
    case Kind::kUploads:
    case Kind::kUpload: return Action::kContentWrite;  // also to ask for it and to cancel it
    default: break;
  }
  if (reads) return Action::kContentRead;
  return method == "DELETE" ? Action::kContentDelete : Action::kContentWrite;
}

// The scope of the challenge: clients take what they are told, so a push asks for pull as well.
std::string scope_for(const Route& route, Action action) {
  Actions actions = {Action::kContentRead, Action::kMetadataRead};
  if (action == Action::kContentWrite || action == Action::kContentDelete) actions |= {action};
  return to_string(access::Scope(route.repository, actions));
}

bool has_token(const Caller& caller) {
  return caller.limit().has_value();
}

std::string_view error_for(const Caller& caller) {
  return has_token(caller) ? kInsufficient : std::string_view();
}

// The ping says whether one must log in: clients that know only its answer would otherwise never do
// so for the repositories that need it.
std::expected<Decision, Refusal> authorize_ping(const Gate& gate, const Caller& caller,
                                                const net::Request& request) {
  if (!caller.is_anonymous() || has_token(caller)) return Decision::kAllowed;
  // Word for word what clients of ACR know (docs/decisions/0019-whose-words.md).
  auto refusal = gate.unauthorized(
      request, "", "",
      "authentication required, visit https://aka.ms/acr/authorization for more information.");
  refusal.detail = "null";
  return std::unexpected(std::move(refusal));
}

std::expected<Decision, Refusal> authorize_catalog(const Gate& gate, const Caller& caller,
                                                   const net::Request& request) {
  if (!caller.is_anonymous() && caller.may_list_catalog()) return Decision::kAllowed;
  return std::unexpected(gate.unauthorized(request, to_string(access::Scope::catalog()),
                                           error_for(caller), "log in to list the repositories"));
}

}  // namespace

Refusal denied(const Caller& caller, std::string_view repository, Action action) {
  const auto id = caller.id();
  json::object detail;
  detail["principal"] = id;
  detail["repository"] = repository;
  detail["needs"] = to_string(action);
  detail["rule"] = fmt::format("the roles or the scope map of {} give it \"{}\" in {}", id,
                               access::to_scope_actions(caller.granted(repository)), repository);
  Refusal refusal(
      403, "DENIED",
      fmt::format("{} may not do this in {}: it needs {}{}", id, repository, to_string(action),
                  action == Action::kConvert ? ", which the role Converter has" : ""));
  refusal.detail = json::serialize(detail);
  return refusal;
}

std::expected<void, Refusal> authorize_deed(const Gate* gate, const Caller& caller,
                                            const Deed& deed, const net::Request& request,
                                            const Refusal& absent) {
  const auto& [action, repository, seeing] = deed;
  if (caller.may(action, repository)) return {};
  const auto granted = caller.granted(repository);
  if (gate != nullptr && (caller.is_anonymous() || granted.has(action))) {
    const access::Scope scope(std::string(repository), {seeing, action});
    return std::unexpected(
        gate->unauthorized(request, to_string(scope), error_for(caller),
                           fmt::format("{} needs {}", repository, to_string(action))));
  }
  if (!granted.has(seeing)) return std::unexpected(absent);
  return std::unexpected(denied(caller, repository, action));
}

std::expected<Decision, Refusal> authorize(const Gate& gate, const Caller& caller,
                                           const Route& route, const net::Request& request) {
  if (route.kind == Kind::kBase) return authorize_ping(gate, caller, request);
  if (route.kind == Kind::kCatalog) return authorize_catalog(gate, caller, request);
  const auto action = needed(route, request.method);
  if (!caller.images().empty() && action == Action::kContentRead &&
      caller.allowed_in_images(route.repository).has(action))
    return Decision::kOfImages;
  if (caller.may(action, route.repository)) return Decision::kAllowed;
  const auto granted = caller.granted(route.repository);
  if (caller.is_anonymous() || granted.has(action))
    return std::unexpected(
        gate.unauthorized(request, scope_for(route, action), error_for(caller),
                          fmt::format("{} needs {}", route.repository, to_string(action))));
  const bool sees = granted.has(Action::kContentRead) || granted.has(Action::kMetadataRead);
  if (!sees && action != Action::kContentWrite) return Decision::kHidden;
  return std::unexpected(denied(caller, route.repository, action));
}

std::expected<void, Refusal> check_images(const Gate& gate, ImageRights& rights,
                                          const Caller& caller, const Route& route,
                                          const net::Request& request) {
  std::vector<oci::Digest> images;
  for (const auto& text : caller.images()) {
    if (auto digest = oci::Digest::parse(text)) images.push_back(*std::move(digest));
  }
  RUNNEL_TRY(const bool belongs, rights.reach(route, images, request.received_at));
  if (belongs) return {};
  return std::unexpected(
      gate.unauthorized(request, scope_for(route, Action::kContentRead), kInsufficient,
                        fmt::format("the token is for some images of {}, and this is not of them",
                                    route.repository)));
}

}  // namespace runnel::registry
