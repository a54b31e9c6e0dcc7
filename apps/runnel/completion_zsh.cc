#include <fmt/format.h>

#include "completion_scripts.h"

namespace runnel {

std::string zsh_completion(const std::vector<CompletedCommand>& all) {
  std::string out =
      "#compdef runnel\n"
      "# zsh completion of runnel: source <(runnel completion zsh)\n"
      "_runnel() {\n"
      "  local command_path=runnel word i\n"
      "  local -a choices\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    word=${words[i]}\n"
      "    case \"$command_path/$word\" in\n";
  for (const auto& command : all)
    if (const auto steps = steps_of(command); !steps.empty())
      out += fmt::format("      {}) command_path+=\" $word\" ;;\n", steps);
  out +=
      "    esac\n"
      "  done\n"
      "  case \"$command_path\" in\n";
  for (const auto& command : all)
    out +=
        fmt::format("    {}) choices=({}) ;;\n", in_single_quotes(command.path), words_of(command));
  out +=
      "  esac\n"
      "  compadd -- $choices\n"
      "}\n"
      "compdef _runnel runnel\n";
  return out;
}

}  // namespace runnel
