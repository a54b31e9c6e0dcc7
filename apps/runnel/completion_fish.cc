#include <fmt/format.h>

#include "completion_scripts.h"

namespace runnel {

std::string fish_completion(const std::vector<CompletedCommand>& all) {
  std::string out =
      "# fish completion of runnel: runnel completion fish | source\n"
      "function __runnel_path\n"
      "  set -l path runnel\n"
      "  for word in (commandline -opc)[2..]\n"
      "    switch \"$path/$word\"\n";
  for (const auto& command : all)
    for (const auto& [name, what] : command.commands)
      out += fmt::format("      case {}\n        set path \"$path $word\"\n",
                         in_single_quotes(command.path + "/" + name));
  out +=
      "    end\n"
      "  end\n"
      "  echo $path\n"
      "end\n";
  for (const auto& command : all) {
    const auto condition = fmt::format("test (__runnel_path) = \"{}\"", command.path);
    for (const auto& [name, what] : command.commands)
      out += fmt::format("complete -c runnel -f -n {} -a {} -d {}\n", in_single_quotes(condition),
                         name, in_single_quotes(what));
    for (const auto& [name, what] : command.flags)
      out += fmt::format("complete -c runnel -n {} {} {} -d {}\n", in_single_quotes(condition),
                         name.starts_with("--") ? "-l" : "-s",
                         name.substr(name.starts_with("--") ? 2 : 1), in_single_quotes(what));
  }
  return out;
}

}  // namespace runnel
