// "runnel completion SHELL": what a shell needs to complete Runnel's command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace runnel {

// The script lists the commands and flags of `app` as they are when the command runs, so this is
// added as the last one.
void add_completion_command(CLI::App& app, std::function<int()>& action);

}  // namespace runnel
