// "runnel token …" on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "cli/cli.h"

namespace runnel {

// Adds the command and its own below `app`; the chosen one sets `action`. `add_registry_flags` adds
// how a registry is reached.
void add_token_commands(CLI::App& app, std::function<int()>& action,
                        void (*add_registry_flags)(CLI::App&, cli::RegistryOptions&));

}  // namespace runnel
