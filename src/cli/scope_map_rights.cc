#include "cli/scope_map_rights.h"

#include "base/quote.h"
#include "cli/report.h"

namespace runnel::cli {

namespace {

bool is_action(std::string_view text) {
  for (const char* action : {"content/read", "content/write", "content/delete", "content/convert",
                             "metadata/read", "metadata/write"})
    if (text == action) return true;
  return false;
}

}  // namespace

Outcome<std::vector<std::string>> scope_map_lines(const std::vector<std::string>& rights) {
  std::vector<std::string> lines;
  std::string repository;
  bool used = true;
  const auto without_action = [&] {
    return usage_error(
        "what may be done in {}? Say it after the name: content/read, content/write, "
        "content/delete, metadata/read, metadata/write",
        quote(repository));
  };
  for (const auto& each : rights) {
    if (is_action(each)) {
      if (repository.empty())
        return usage_error("{} in which repository? Its name goes before", each);
      lines.push_back(fmt::format("repositories/{}/{}", repository, each));
      used = true;
      continue;
    }
    if (!used) return without_action();
    repository = each;
    used = false;
  }
  if (!used) return without_action();
  return lines;
}

}  // namespace runnel::cli
