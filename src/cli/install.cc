#include "install/install.h"

#include "cli/cli.h"
#include "cli/report.h"

namespace runnel::cli {

namespace {

int run(install::Options options, Result<void> (*what)(const install::Options&)) {
  options.say = [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);  // before what the commands it runs may print
  };
  const auto done = what(options);
  return done ? 0 : report(done.error());
}

}  // namespace

int node_install(const install::Options& options) {
  return run(options, install::install);
}

int node_uninstall(const install::Options& options) {
  return run(options, install::uninstall);
}

}  // namespace runnel::cli
