#include "cli/report.h"
#include "node/doctor.h"
#include "roles.h"

namespace runnel {

int run_doctor(const DoctorFlags& flags) {
  auto config = node_config(flags.node);
  if (!config) return cli::report(config.error());
  const auto findings = node::examine({.config = *std::move(config),
                                       .containerd_socket = flags.containerd,
                                       .registries = flags.registries});
  fmt::print("{}{}", flags.json ? node::to_json(findings) : node::to_text(findings),
             flags.json ? "\n" : "");
  return node::has_failure(findings) ? 1 : 0;
}

}  // namespace runnel
