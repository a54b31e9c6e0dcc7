#include "token_commands.h"

#include <memory>

#include "cli/token.h"

namespace runnel {

namespace {

using cli::TokenOptions;

constexpr const char* kActions =
    "repositories/NAME/ACTION: content/read, content/write, content/delete, metadata/read or "
    "metadata/write; NAME may end in *";

// What one command adds to what all have.
enum Takes : unsigned {
  kNothing = 0,
  kName = 1,
  kPassword = 2,
  kScopeMap = 4,
  kActionList = 8,
  kSecond = 16
};

class TokenCommands {
 public:
  TokenCommands(CLI::App& parent, std::function<int()>& action,
                void (*add_registry_flags)(CLI::App&, cli::RegistryOptions&))
      : parent_(parent), action_(action), add_registry_flags_(add_registry_flags) {}

  void add(const char* name, const char* does, const char* example, unsigned takes,
           int (*run)(const TokenOptions&)) {
    auto* command = parent_.add_subcommand(name, does);
    command->footer(std::string("Example: runnel token ") + example);
    auto options = std::make_shared<TokenOptions>();
    if ((takes & kName) != 0) command->add_option("NAME", options->name)->required();
    if ((takes & kActionList) != 0)
      command->add_option("ACTION", options->actions, kActions)->required();
    if ((takes & kScopeMap) != 0) add_rights(*command, *options);
    if ((takes & kPassword) != 0) add_password(*command, *options);
    if ((takes & kSecond) != 0)
      command->add_flag("--second", options->second, "the second one; the first goes on");
    add_common(*command, *options);
    command->callback(
        [&action = action_, options, run] { action = [options, run] { return run(*options); }; });
  }

 private:
  static void add_rights(CLI::App& command, TokenOptions& options) {
    auto* rights = command.add_option_group("rights");
    rights->add_option("--scope-map", options.scope_map, "what it may do");
    rights->add_option("--action", options.actions, kActions);
    rights->require_option(1);
  }
  static void add_password(CLI::App& command, TokenOptions& options) {
    command.add_option("--days", options.days, "until the password ends")
        ->check(CLI::Range(1, 3650));
  }
  void add_common(CLI::App& command, TokenOptions& options) const {
    command.add_option("--registry", options.host, "HOST:PORT")
        ->envname("RUNNEL_REGISTRY")
        ->required();
    command.add_option("-u,--user", options.user,
                       "user name; its password comes on standard input [docker's configuration]");
    add_registry_flags_(command, options.registry);
    command.add_flag("--json", options.json, "print JSON");
  }

  CLI::App& parent_;
  std::function<int()>& action_;
  void (*const add_registry_flags_)(CLI::App&, cli::RegistryOptions&);
};

}  // namespace

void add_token_commands(CLI::App& app, std::function<int()>& action,
                        void (*add_registry_flags)(CLI::App&, cli::RegistryOptions&)) {
  auto* token = app.add_subcommand("token", "tokens and scope maps of a registry of ours");
  token->footer(
      "Example: runnel token create ci --action 'repositories/team/*/content/read' --registry "
      "HOST");
  token->require_subcommand(1);
  TokenCommands commands(*token, action, add_registry_flags);
  commands.add("list", "all tokens", "list --registry HOST", kNothing, cli::token_list);
  commands.add("create", "make a token; prints its password, which is kept nowhere",
               "create ci --action 'repositories/team/*/content/read' --days 90 --registry HOST",
               kName | kScopeMap | kPassword, cli::token_create);
  commands.add("password", "make one of the token's two passwords anew; prints it",
               "password ci --second --days 90 --registry HOST", kName | kPassword | kSecond,
               cli::token_password);
  commands.add("enable", "let it log in again", "enable ci --registry HOST", kName,
               cli::token_enable);
  commands.add("disable", "let it log in no more, from now on", "disable ci --registry HOST", kName,
               cli::token_disable);
  commands.add("delete", "forget a token", "delete ci --registry HOST", kName, cli::token_delete);
  commands.add("scope-maps", "all scope maps", "scope-maps --registry HOST", kNothing,
               cli::scope_map_list);
  commands.add("set-scope-map", "make a scope map, or replace it",
               "set-scope-map ci 'repositories/team/*/content/read' --registry HOST",
               kName | kActionList, cli::scope_map_set);
  commands.add("delete-scope-map", "forget a scope map that no token has",
               "delete-scope-map ci --registry HOST", kName, cli::scope_map_delete);
}

}  // namespace runnel
