#include "access/grant.h"

#include <algorithm>
#include <array>

#include "base/quote.h"

namespace runnel::access {

namespace {

constexpr Actions kPull = {Action::kContentRead, Action::kMetadataRead};
constexpr Actions kPush = kPull | Actions{Action::kContentWrite, Action::kMetadataWrite};

struct Named {
  std::string_view name;
  Actions actions;
};
constexpr std::array<Named, 5> kRoles = {{
    {"AcrPull", kPull},
    {"AcrPush", kPush},
    {"AcrDelete", {Action::kContentDelete}},
    {"Converter", kPush | Actions{Action::kConvert}},
    {"Owner", Actions::all()},
}};
constexpr std::array<Named, 5> kSystemScopeMaps = {{
    {"_repositories_admin",
     {Action::kContentRead, Action::kContentWrite, Action::kContentDelete, Action::kMetadataRead,
      Action::kMetadataWrite}},
    {"_repositories_pull", {Action::kContentRead}},
    {"_repositories_pull_metadata_read", kPull},
    {"_repositories_push", {Action::kContentRead, Action::kContentWrite}},
    {"_repositories_push_metadata_write", kPush},
}};

constexpr std::string_view kRepositories = "repositories/";

}  // namespace

bool matches(std::string_view pattern, std::string_view repository) {
  if (!pattern.ends_with('*')) return pattern == repository;
  pattern.remove_suffix(1);
  return repository.starts_with(pattern);
}

Result<void> check_pattern(std::string_view pattern) {
  const auto star = pattern.find('*');
  if (!pattern.empty() && (star == std::string_view::npos || star == pattern.size() - 1)) return {};
  return fail(Code::kInvalid,
              "{} is not a repository or a pattern of repositories such as \"team/*\"",
              quote(pattern));
}

Actions allowed(const Grants& grants, std::string_view repository) {
  Actions actions;
  for (const auto& grant : grants)
    if (matches(grant.pattern, repository)) actions |= grant.actions;
  return actions;
}

Result<Actions> role(std::string_view name) {
  for (const auto& known : kRoles)
    if (known.name == name) return known.actions;
  return fail(Code::kNotFound, "there is no role {}: AcrPull, AcrPush, AcrDelete, Converter, Owner",
              quote(name));
}

Result<Grants> system_scope_map(std::string_view name) {
  for (const auto& known : kSystemScopeMaps)
    if (known.name == name) return Grants{Grant("*", known.actions)};
  return fail(Code::kNotFound, "there is no system scope map {}", quote(name));
}

std::vector<std::string> system_scope_maps() {
  std::vector<std::string> names;
  names.reserve(std::size(kSystemScopeMaps));
  for (const auto& known : kSystemScopeMaps) names.emplace_back(known.name);
  return names;
}

Result<Grant> parse_scope_map_action(std::string_view text) {
  const auto whole = text;
  const auto slash = text.rfind('/');
  const auto before = slash == 0 || slash == std::string_view::npos ? std::string_view::npos
                                                                    : text.rfind('/', slash - 1);
  if (!text.starts_with(kRepositories) || before == std::string_view::npos ||
      before <= kRepositories.size())
    return fail(Code::kInvalid,
                "{} is not an action of a scope map, such as repositories/team/app/content/read",
                quote(whole));
  RUNNEL_TRY(const auto action, parse_action(text.substr(before + 1)));
  const auto pattern = text.substr(kRepositories.size(), before - kRepositories.size());
  RUNNEL_DO(check_pattern(pattern));
  return Grant(std::string(pattern), {action});
}

std::vector<std::string> to_scope_map_actions(const Grants& grants) {
  std::vector<std::string> lines;
  for (const auto& grant : grants)
    for (const auto action : {Action::kContentRead, Action::kContentWrite, Action::kContentDelete,
                              Action::kMetadataRead, Action::kMetadataWrite, Action::kConvert})
      if (grant.actions.has(action))
        lines.push_back(fmt::format("repositories/{}/{}", grant.pattern, to_string(action)));
  std::ranges::sort(lines);
  const auto [first, last] = std::ranges::unique(lines);
  lines.erase(first, last);
  return lines;
}

}  // namespace runnel::access
