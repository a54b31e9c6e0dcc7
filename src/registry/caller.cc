#include "registry/caller.h"

#include <algorithm>

namespace runnel::registry {

using access::Actions;
using access::Scope;

Caller Caller::anyone() {
  Caller caller;
  caller.unrestricted_ = true;
  return caller;
}

Caller::Caller(access::Principal principal, access::Grants grants,
               std::optional<std::vector<Scope>> limit)
    : principal_(std::move(principal)), grants_(std::move(grants)), limit_(std::move(limit)) {}

std::string Caller::id() const {
  return unrestricted_ ? std::string() : to_string(principal_);
}

bool Caller::is_anonymous() const {
  return !unrestricted_ && principal_.kind == access::Principal::Kind::kAnonymous;
}

Actions Caller::granted(std::string_view repository) const {
  return unrestricted_ ? Actions::all() : access::allowed(grants_, repository);
}

std::vector<std::string> Caller::patterns(access::Action action) const {
  if (unrestricted_) return {"*"};
  std::vector<std::string> all;
  for (const auto& grant : grants_)
    if (grant.actions.has(action)) all.push_back(grant.pattern);
  // A '*' sorts before whatever goes on in a name: "a*" comes behind "a", and before all else that
  // it covers.
  std::ranges::sort(all);
  std::vector<std::string> disjoint;
  for (auto& each : all) {
    if (!disjoint.empty() && access::matches(disjoint.back(), each)) continue;
    if (!disjoint.empty() && access::matches(each, disjoint.back())) disjoint.pop_back();
    disjoint.push_back(std::move(each));
  }
  return disjoint;
}

Actions Caller::allowed(std::string_view repository) const {
  return images_.empty() ? allowed_in_images(repository) : Actions();
}

Actions Caller::allowed_in_images(std::string_view repository) const {
  const auto actions = granted(repository);
  if (!limit_) return actions;
  Actions within;
  for (const auto& scope : *limit_)
    if (scope.kind == Scope::Kind::kRepository && scope.repository == repository)
      within |= scope.actions;
  return actions & within;
}

bool Caller::may_list_catalog() const {
  if (!images_.empty()) return false;
  return !limit_ || std::ranges::any_of(*limit_, [](const Scope& scope) {
    return scope.kind == Scope::Kind::kCatalog;
  });
}

bool Caller::is_owner() const {
  if (unrestricted_) return true;
  return !limit_ && images_.empty() && std::ranges::any_of(grants_, [](const access::Grant& grant) {
    return grant.pattern == "*" && grant.actions == Actions::all();
  });
}

}  // namespace runnel::registry
