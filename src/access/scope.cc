#include "access/scope.h"

#include "base/quote.h"

namespace runnel::access {

namespace {

constexpr size_t kMaxScopes = 100;

Result<void> add_scope(std::vector<Scope>& scopes, std::string_view text) {
  const auto first = text.find(':');
  const auto last = text.rfind(':');
  if (first == std::string_view::npos || first == last)
    return fail(Code::kInvalid, "{} is not a scope: TYPE:NAME:ACTIONS", quote(text));
  auto type = text.substr(0, first);
  type = type.substr(0, type.find('('));  // "repository(plugin)"
  const auto name = text.substr(first + 1, last - first - 1);
  const auto actions = text.substr(last + 1);
  // "deleted_catalog": ACR's name for the catalog of what was deleted.
  if (type == "registry" && (name == "catalog" || name == "deleted_catalog"))
    scopes.push_back(Scope::catalog());
  if (type == "repository") scopes.emplace_back(std::string(name), actions_of_scope(actions));
  return {};
}

}  // namespace

Result<std::vector<Scope>> parse_scopes(std::string_view text) {
  std::vector<Scope> scopes;
  size_t count = 0;
  while (!text.empty()) {
    const auto end = text.find(' ');
    const auto one = text.substr(0, end);
    if (!one.empty()) {
      if (++count > kMaxScopes)
        return fail(Code::kInvalid, "more than {} scopes in one request", kMaxScopes);
      RUNNEL_DO(add_scope(scopes, one));
    }
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return scopes;
}

std::string to_string(const Scope& scope) {
  if (scope.kind == Scope::Kind::kCatalog) return "registry:catalog:*";
  return fmt::format("repository:{}:{}", scope.repository, to_scope_actions(scope.actions));
}

}  // namespace runnel::access
