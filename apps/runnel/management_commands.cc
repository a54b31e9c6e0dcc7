// "runnel role assignment" and "runnel config" on the command line.
#include "api_commands.h"
#include "cli/role_assignment.h"
#include "cli/soft_delete_config.h"

namespace runnel {

namespace {

using RoleAdded = AddedCommand<cli::RoleAssignmentOptions>;

constexpr const char* kScope =
    "a repository, a pattern such as 'team/*', '*' for all, or Azure's resource ID of a registry";

void add_who_and_what(const RoleAdded& to, bool required) {
  to.command->add_option("--assignee", to.options->assignee, "a person's name")->required(required);
  to.command
      ->add_option("--role", to.options->role, "AcrPull, AcrPush, AcrDelete, Converter or Owner")
      ->required(required);
}

}  // namespace

void add_role_commands(CLI::App& app, Action& action) {
  auto* role = app.add_subcommand("role", "what people may do");
  role->require_subcommand(1);
  role->footer("Example: runnel role assignment list -r registry.example -o table");
  auto* group = role->add_subcommand("assignment", "roles that people have");
  group->require_subcommand(1);
  group->footer("Example: runnel role assignment list -r registry.example -o table");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const cli::RoleAssignmentOptions&)) {
    return add_api_command(*group, action, name, what, "role assignment " + example,
                           RegistryFlag::kAlone, run);
  };
  const auto create =
      add("create", "give a person a role; prints the assignment, also when it was there",
          "create -r registry.example --assignee alice --role AcrPull --scope 'team/*'",
          cli::role_assignment_create);
  add_who_and_what(create, true);
  create.command->add_option("--scope", create.options->scope, std::string(kScope) + " [*]");
  const auto list =
      add("list", "the assignments that fit, those of the registry's configuration included",
          "list -r registry.example --assignee alice -o table", cli::role_assignment_list);
  add_who_and_what(list, false);
  list.command->add_option("--scope", list.options->scope,
                           std::string("only of exactly this: ") + kScope);
  list.command->add_flag("--include-inherited", list.options->inherited,
                         "also those whose scope covers --scope");
  list.command->add_flag("--all")
      ->description("of every scope, as without --scope")
      ->excludes(list.command->get_option("--scope"));
  const auto remove = add("delete", "take roles away that `role assignment create` gave",
                          "delete -r registry.example --assignee alice --role AcrPull",
                          cli::role_assignment_delete);
  add_who_and_what(remove, false);
  remove.command->add_option("--scope", remove.options->scope,
                             std::string("only of exactly this: ") + kScope);
  remove.command->add_flag("--include-inherited", remove.options->inherited,
                           "also those whose scope covers --scope");
  remove.command->add_option("--ids", remove.options->ids, "these, as the list has them");
  add_yes_flag(*remove.command, remove.options->api);
}

void add_config_commands(CLI::App& app, Action& action) {
  auto* config = app.add_subcommand("config", "a registry's policies");
  config->require_subcommand(1);
  config->footer("Example: runnel config soft-delete show -r registry.example");
  auto* group = config->add_subcommand("soft-delete", "for how long deletions can be undone");
  group->require_subcommand(1);
  group->footer("Example: runnel config soft-delete show -r registry.example");
  add_api_command(*group, action, "show", "the policy that holds",
                  "config soft-delete show -r registry.example", RegistryFlag::kAlone,
                  cli::soft_delete_config_show);
  const auto update =
      add_api_command(*group, action, "update", "change it, now and for good",
                      "config soft-delete update -r registry.example --days 30 --status enabled",
                      RegistryFlag::kAlone, cli::soft_delete_config_update);
  update.command->add_option("--days", update.options->days, "for how long, 1 to 90")
      ->check(CLI::Range(1, 90));
  update.command
      ->add_option("--status", update.options->status,
                   "whether what is deleted from now on can come back")
      ->transform(CLI::IsMember({"enabled", "disabled"}, CLI::ignore_case));
  add_yes_flag(*update.command, update.options->api);
}

}  // namespace runnel
