#include "access/action.h"

#include <array>

#include "base/quote.h"

namespace runnel::access {

namespace {

constexpr std::array kActions = {Action::kContentRead,   Action::kContentWrite,
                                 Action::kContentDelete, Action::kMetadataRead,
                                 Action::kMetadataWrite, Action::kConvert};

struct ScopeName {
  std::string_view name;
  Actions actions;
};
// In the order in which to_scope_actions() tries them: the first that fits says most.
constexpr std::array<ScopeName, 6> kScopeNames = {{
    {"pull", {Action::kContentRead, Action::kMetadataRead}},
    {"push", {Action::kContentWrite, Action::kConvert}},
    {"delete", {Action::kContentDelete}},
    {"metadata_read", {Action::kMetadataRead}},
    {"metadata_write", {Action::kMetadataWrite}},
    {"convert", {Action::kConvert}},
}};

// What clients of ACR ask for to see and to undo deletions; an answer names what these mean.
constexpr std::array<ScopeName, 2> kAliases = {{
    {"deleted_read", {Action::kMetadataRead}},
    {"deleted_restore", {Action::kContentWrite}},
}};

}  // namespace

const char* to_string(Action action) {
  switch (action) {
    case Action::kContentRead: return "content/read";
    case Action::kContentWrite: return "content/write";
    case Action::kContentDelete: return "content/delete";
    case Action::kMetadataRead: return "metadata/read";
    case Action::kMetadataWrite: return "metadata/write";
    case Action::kConvert: return "content/convert";
  }
  return "";
}

Result<Action> parse_action(std::string_view name) {
  for (const auto action : kActions)
    if (name == to_string(action)) return action;
  return fail(Code::kInvalid,
              "{} is not an action: content/read, content/write, content/delete, metadata/read, "
              "metadata/write, content/convert",
              quote(name));
}

Actions actions_of_scope(std::string_view comma_separated) {
  Actions actions;
  while (!comma_separated.empty()) {
    const auto end = comma_separated.find(',');
    const auto name = comma_separated.substr(0, end);
    if (name == "*") return Actions::all();
    for (const auto& known : kScopeNames)
      if (name == known.name) actions |= known.actions;
    for (const auto& known : kAliases)
      if (name == known.name) actions |= known.actions;
    if (end == std::string_view::npos) break;
    comma_separated.remove_prefix(end + 1);
  }
  return actions;
}

std::string to_scope_actions(Actions actions) {
  std::string list;
  Actions named;
  for (const auto& [name, means] : kScopeNames) {
    // "pull" and "push" also for a principal that may do only the main part of them: that is what a
    // client asked for.
    const bool main_part = (means.has(Action::kContentRead) && actions.has(Action::kContentRead)) ||
                           (means.has(Action::kContentWrite) && actions.has(Action::kContentWrite));
    if (!main_part && (!actions.has_all(means) || named.has_all(means))) continue;
    named |= means;
    if (!list.empty()) list += ',';
    list += name;
  }
  return list;
}

}  // namespace runnel::access
