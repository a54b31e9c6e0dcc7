// What the commands share that speak to a registry's own API: their flags, and how one is added.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "cli/api_options.h"
#include "cli/repository.h"

namespace runnel {

// What the chosen subcommand does; set by its callback, run after parsing.
using Action = std::function<int()>;

// Whether --name/-n is another spelling of --registry/-r, as where no other name is needed.
enum class RegistryFlag : bool { kAlone, kAlsoName };

void add_registry_flags(CLI::App& command, cli::RegistryOptions& options);
// --registry, credentials, --output, --query.
void add_api_flags(CLI::App& command, cli::ApiOptions& options, RegistryFlag registry);
// --name and --registry, and credentials.
void add_login_flags(CLI::App& command, cli::ApiOptions& options);
void add_yes_flag(CLI::App& command, cli::ApiOptions& options);
// --delete-enabled and its like.
void add_attribute_flags(CLI::App& command, cli::AttributeChanges& changes);

template <class Options>
struct AddedCommand {
  CLI::App* command;
  std::shared_ptr<Options> options;
};

// A command that runs `run` with the options that its flags fill. `example` goes without "runnel ".
template <class Options>
AddedCommand<Options> add_api_command(CLI::App& group, Action& action, const std::string& name,
                                      const std::string& what, const std::string& example,
                                      RegistryFlag registry, int (*run)(const Options&)) {
  auto* command = group.add_subcommand(name, what);
  command->footer("Example: runnel " + example);
  auto options = std::make_shared<Options>();
  add_api_flags(*command, options->api, registry);
  command->callback([&action, options, run] { action = [options, run] { return run(*options); }; });
  return {command, std::move(options)};
}

// runnel repository …, runnel manifest …, and so on
void add_repository_commands(CLI::App& app, Action& action);
void add_manifest_commands(CLI::App& app, Action& action);
void add_streaming_commands(CLI::App& app, Action& action);
void add_token_commands(CLI::App& app, Action& action);
void add_scope_map_commands(CLI::App& app, Action& action);
void add_role_commands(CLI::App& app, Action& action);
void add_config_commands(CLI::App& app, Action& action);
void add_verify_command(CLI::App& app, Action& action);
void add_check_health_command(CLI::App& app, Action& action);

}  // namespace runnel
