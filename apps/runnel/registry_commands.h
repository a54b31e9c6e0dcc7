// The subcommands of `runnel registry`: they work on a data directory, also while registries serve
// it.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace runnel {

// `action` is set to what the chosen command does; it must outlive parsing.
void add_registry_commands(CLI::App& registry, std::function<int()>& action);

}  // namespace runnel
