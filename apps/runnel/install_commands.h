// The commands "runnel node install" and "runnel node uninstall" on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace runnel {

// Adds both below `node`; the chosen one sets `action`.
void add_install_commands(CLI::App& node, std::function<int()>& action);

}  // namespace runnel
