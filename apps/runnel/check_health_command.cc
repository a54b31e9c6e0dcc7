// "runnel check-health" on the command line.
#include "api_commands.h"
#include "cli/check_health.h"

namespace runnel {

namespace {

// A flag of the commands that make a document of an answer. There is none to write or pick from
// here, and a script that reads one should hear that at once.
void refuse_flag(CLI::App& command, const char* flag) {
  const auto why = [](const std::string&) {
    return std::string("check-health prints lines only, no document: leave this flag out");
  };
  command.get_option(flag)->group("")->check(why, "");
}

}  // namespace

void add_check_health_command(CLI::App& app, Action& action) {
  const auto added = add_api_command<cli::CheckHealthOptions>(
      app, action, "check-health", "what has to work between this machine and a registry",
      "check-health -n registry.example", RegistryFlag::kAlsoName, cli::check_health);
  added.command->add_flag("--ignore-errors", added.options->ignore_errors,
                          "go on after a step that failed");
  added.command
      ->add_option("--vnet", added.options->vnet,
                   "the virtual network that this machine is in: the registry's name has to lead "
                   "to private addresses")
      ->type_name("NAME or ID");
  add_yes_flag(*added.command, added.options->api);
  refuse_flag(*added.command, "--output");
  refuse_flag(*added.command, "--query");
}

}  // namespace runnel
