#include <fmt/format.h>

#include "completion_scripts.h"

namespace runnel {

std::string bash_completion(const std::vector<CompletedCommand>& all) {
  std::string out =
      "# bash completion of runnel: source <(runnel completion bash)\n"
      "_runnel() {\n"
      "  local path=runnel word i words\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${COMP_WORDS[i]}\n"
      "    case \"$path/$word\" in\n";
  for (const auto& command : all)
    if (const auto steps = steps_of(command); !steps.empty())
      out += fmt::format("      {}) path+=\" $word\" ;;\n", steps);
  out +=
      "    esac\n"
      "  done\n"
      "  case \"$path\" in\n";
  for (const auto& command : all)
    out += fmt::format("    {}) words={} ;;\n", in_single_quotes(command.path),
                       in_single_quotes(words_of(command)));
  out +=
      "  esac\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
      "}\n"
      "complete -o default -F _runnel runnel\n";
  return out;
}

}  // namespace runnel
