// "runnel token …" and "runnel scope-map …" on the command line.
#include "api_commands.h"
#include "cli/token.h"

namespace runnel {

namespace {

using cli::TokenOptions;
using Added = AddedCommand<TokenOptions>;

constexpr const char* kRights =
    "REPOSITORY ACTION [ACTION …]: content/read, content/write, content/delete, metadata/read, "
    "metadata/write; REPOSITORY may end in *";
constexpr const char* kLines = "repositories/REPOSITORY/ACTION, the same in one word";

void add_name(const Added& to, const char* what) {
  to.command->add_option("-n,--name", to.options->name, what)->required();
}

void add_rights(const Added& to) {
  to.command->add_option("--repository", to.options->rights, kRights);
  to.command->add_option("--action", to.options->actions, kLines);
}

void add_days(const Added& to) {
  to.command->add_option("--expiration-in-days,--days", to.options->days, "until a password ends")
      ->check(CLI::Range(1, 3650));
}

void add_status(const Added& to) {
  to.command->add_option("--status", to.options->status, "whether it can log in")
      ->check(CLI::IsMember({"enabled", "disabled"}));
}

void add_credential_commands(CLI::App& token, Action& action) {
  auto* group = token.add_subcommand("credential", "a token's two passwords");
  group->require_subcommand(1);
  group->footer("Example: runnel token credential generate -r registry.example -n ci --password2");
  const auto generate = add_api_command(
      *group, action, "generate", "make passwords anew; prints them, they are kept nowhere",
      "token credential generate -r registry.example -n ci --password2 --expiration-in-days 90",
      RegistryFlag::kAlone, cli::token_generate);
  add_name(generate, "of the token");
  generate.command->add_flag("--password1", generate.options->first, "only the first one");
  generate.command->add_flag("--password2", generate.options->second,
                             "only the second one; the first goes on");
  add_days(generate);
}

}  // namespace

void add_token_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("token", "names and passwords that are no person's");
  group->require_subcommand(1);
  group->footer("Example: runnel token list -r registry.example -o table");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const TokenOptions&)) {
    return add_api_command(*group, action, name, what, "token " + example, RegistryFlag::kAlone,
                           run);
  };
  add("list", "all tokens", "list -r registry.example -o table", cli::token_list);
  add_name(add("show", "one token", "show -r registry.example -n ci", cli::token_show),
           "of the token");
  const auto create =
      add("create", "make a token; prints its passwords, which are kept nowhere",
          "create -r registry.example -n ci --repository 'team/*' content/read metadata/read",
          cli::token_create);
  add_name(create, "of the new token");
  create.command->add_option("--scope-map", create.options->scope_map,
                             "what it may do: a scope map that is there, such as "
                             "_repositories_pull; or say --repository");
  add_rights(create);
  add_days(create);
  add_status(create);
  create.command->add_flag("--no-passwords", create.options->no_passwords, "make none yet");
  const auto update = add("update", "change what it may do, or whether it can log in",
                          "update -r registry.example -n ci --status disabled", cli::token_update);
  add_name(update, "of the token");
  update.command->add_option("--scope-map", update.options->scope_map, "what it may do");
  add_status(update);
  const auto remove =
      add("delete", "forget a token", "delete -r registry.example -n ci --yes", cli::token_delete);
  add_name(remove, "of the token");
  add_yes_flag(*remove.command, remove.options->api);
  add_credential_commands(*group, action);
}

void add_scope_map_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("scope-map", "what tokens may do");
  group->require_subcommand(1);
  group->footer("Example: runnel scope-map list -r registry.example -o table");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const TokenOptions&)) {
    return add_api_command(*group, action, name, what, "scope-map " + example, RegistryFlag::kAlone,
                           run);
  };
  add("list", "all scope maps", "list -r registry.example -o table", cli::scope_map_list);
  add_name(add("show", "one scope map", "show -r registry.example -n _repositories_pull",
               cli::scope_map_show),
           "of the scope map");
  const auto create = add("create", "make a scope map, or replace it",
                          "create -r registry.example -n ci --repository team/app content/read",
                          cli::scope_map_create);
  add_name(create, "of the scope map");
  add_rights(create);
  create.command->add_option("--description", create.options->description, "for people");
  const auto update = add("update", "change what a scope map allows",
                          "update -r registry.example -n ci --add-repository team/b content/read",
                          cli::scope_map_update);
  add_name(update, "of the scope map");
  update.command->add_option("--add-repository", update.options->rights, kRights);
  update.command->add_option("--remove-repository", update.options->rights_taken, kRights);
  update.command->add_option("--description", update.options->description, "for people");
  const auto remove = add("delete", "forget a scope map that no token has",
                          "delete -r registry.example -n ci --yes", cli::scope_map_delete);
  add_name(remove, "of the scope map");
  add_yes_flag(*remove.command, remove.options->api);
}

}  // namespace runnel
