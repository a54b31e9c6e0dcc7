#include <fmt/format.h>

#include "cli/report.h"
#include "net/metrics_server.h"
#include "registry/config.h"
#include "registry/registry.h"
#include "roles.h"
#include "stop_signal.h"

namespace runnel {

namespace {

// Flag over file over default.
Result<registry::Config> registry_config(const RegistryFlags& flags) {
  registry::Config config;
  if (!flags.config.empty()) {
    RUNNEL_TRY(config, registry::load_config(flags.config));
  }
  if (!flags.data.empty()) config.data = flags.data;
  if (!flags.listen.empty()) RUNNEL_DO(registry::set_listen(config, flags.listen));
  if (config.metrics.empty()) config.metrics = registry::kMetricsAddress;
  if (flags.metrics) {
    RUNNEL_DO(net::check_metrics_address(*flags.metrics));
    config.metrics = *flags.metrics;
  }
  RUNNEL_DO(set_log(config.log, flags.log));
  return config;
}

void reload(registry::Registry& registry) {
  registry.reopen_logs();
  const auto reloaded = registry.reload_certificate();
  if (reloaded)
    log::info("the certificate was read again");
  else if (reloaded.error().code != Code::kUnsupported)
    log::error("{}; the certificate of before is shown on", reloaded.error().message);
}

Result<void> serve(const RegistryFlags& flags) {
  RUNNEL_TRY(const auto config, registry_config(flags));
  if (flags.check_config) return {};
  log::open(config.log);
  const StopSignal stop(true);
  const SystemClock clock;
  RUNNEL_TRY(const auto registry, registry::Registry::start(config, clock));
  log::info("registry: serving {} on {}:{}, metrics {}", config.data, config.address,
            registry->port(), registry->metrics_address());
  stop.wait([&] { reload(*registry); });
  registry->stop();
  return {};
}

}  // namespace

int run_registry(const RegistryFlags& flags) {
  ignore_broken_pipes();
  const auto served = serve(flags);
  return served ? 0 : cli::report(served.error());
}

}  // namespace runnel
