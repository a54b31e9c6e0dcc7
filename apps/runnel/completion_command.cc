#include "completion_command.h"

#include <cstdio>
#include <string>
#include <vector>

#include "completion_scripts.h"

namespace runnel {

namespace {

bool is_shown(const CLI::Option& option) {
  return !option.get_group().empty();
}

// Option groups are nameless subcommands whose flags are the command's.
void add_flags(const CLI::App& app, CompletedCommand& command) {
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

void collect(const CLI::App& app, const std::string& path, std::vector<CompletedCommand>& into) {
  CompletedCommand command;
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
      std::vector<CompletedCommand> all;
      collect(app, "runnel", all);
      const auto script = *shell == "bash"  ? bash_completion(all)
                          : *shell == "zsh" ? zsh_completion(all)
                                            : fish_completion(all);
      return std::fputs(script.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
    };
  });
}

}  // namespace runnel
