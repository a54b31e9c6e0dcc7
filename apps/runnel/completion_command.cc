// The scripts are tables: for each command its subcommands and flags, from the program's own tree.
// They run no program while somebody types.
#include "completion_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

namespace runnel {

namespace {

struct Command {
  std::string path;                                           // "runnel token create"
  std::vector<std::pair<std::string, std::string>> commands;  // names, what they do
  std::vector<std::pair<std::string, std::string>> flags;     // "--registry", what it is
};

bool is_shown(const CLI::Option& option) {
  return !option.get_group().empty();
}

// Option groups are nameless subcommands whose flags are the command's.
void add_flags(const CLI::App& app, Command& command) {
  for (const auto* option : app.get_options()) {
    if (!is_shown(*option)) continue;
    for (const auto& name : option->get_lnames())
      command.flags.emplace_back("--" + name, option->get_description());
    for (const auto& name : option->get_snames())
      command.flags.emplace_back("-" + name, option->get_description());
  }
  for (const auto* group : app.get_subcommands([](const CLI::App*) { return true; }))
    if (group->get_name().empty()) add_flags(*group, command);
}

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& into) {
  Command command;
  command.path = path;
  add_flags(app, command);
  std::vector<const CLI::App*> below;
  for (const auto* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    const bool is_hidden = each->get_group().empty();
    if (each->get_name().empty() || is_hidden) continue;
    command.commands.emplace_back(each->get_name(), each->get_description());
    below.push_back(each);
  }
  into.push_back(std::move(command));
  for (const auto* each : below) collect(*each, path + " " + each->get_name(), into);
}

// In single quotes, as all three shells read it.
std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string words_of(const Command& command) {
  std::string words;
  for (const auto& [name, what] : command.commands) words += name + " ";
  for (const auto& [name, what] : command.flags) words += name + " ";
  if (!words.empty()) words.pop_back();
  return words;
}

// "'runnel/node'|'runnel/registry'": a pattern of case for a path and one of its subcommands.
std::string steps_of(const Command& command) {
  std::string steps;
  for (const auto& [name, what] : command.commands)
    steps += (steps.empty() ? "" : "|") + in_quotes(command.path + "/" + name);
  return steps;
}

std::string bash_script(const std::vector<Command>& all) {
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
    out +=
        fmt::format("    {}) words={} ;;\n", in_quotes(command.path), in_quotes(words_of(command)));
  out +=
      "  esac\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
      "}\n"
      "complete -o default -F _runnel runnel\n";
  return out;
}

std::string zsh_script(const std::vector<Command>& all) {
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
    out += fmt::format("    {}) choices=({}) ;;\n", in_quotes(command.path), words_of(command));
  out +=
      "  esac\n"
      "  compadd -- $choices\n"
      "}\n"
      "compdef _runnel runnel\n";
  return out;
}

std::string fish_script(const std::vector<Command>& all) {
  std::string out =
      "# fish completion of runnel: runnel completion fish | source\n"
      "function __runnel_path\n"
      "  set -l path runnel\n"
      "  for word in (commandline -opc)[2..]\n"
      "    switch \"$path/$word\"\n";
  for (const auto& command : all)
    for (const auto& [name, what] : command.commands)
      out += fmt::format("      case {}\n        set path \"$path $word\"\n",
                         in_quotes(command.path + "/" + name));
  out +=
      "    end\n"
      "  end\n"
      "  echo $path\n"
      "end\n";
  for (const auto& command : all) {
    const auto condition = fmt::format("test (__runnel_path) = \"{}\"", command.path);
    for (const auto& [name, what] : command.commands)
      out += fmt::format("complete -c runnel -f -n {} -a {} -d {}\n", in_quotes(condition), name,
                         in_quotes(what));
    for (const auto& [name, what] : command.flags)
      out += fmt::format("complete -c runnel -n {} {} {} -d {}\n", in_quotes(condition),
                         name.starts_with("--") ? "-l" : "-s",
                         name.substr(name.starts_with("--") ? 2 : 1), in_quotes(what));
  }
  return out;
}

}  // namespace

void add_completion_command(CLI::App& app, std::function<int()>& action) {
  auto* command = app.add_subcommand("completion", "what a shell needs to complete this program");
  command->footer("Example: source <(runnel completion bash)");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([&app, &action, shell] {
    action = [&app, shell] {
      std::vector<Command> all;
      collect(app, "runnel", all);
      const auto script = *shell == "bash"  ? bash_script(all)
                          : *shell == "zsh" ? zsh_script(all)
                                            : fish_script(all);
      return std::fputs(script.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
    };
  });
}

}  // namespace runnel
