// Steps of `runnel check-health` about programs that people use with a registry: docker, helm and
// notary. Runnel needs none of them, so one that is not installed is told and harmless; one that is
// there and does not work is a failure.
#pragma once

#include <functional>
#include <vector>

#include "cli/health_step.h"

namespace runnel::cli {

// `may_pull` is asked before an image is pulled to try docker. Programs that hang are ended after
// ten seconds (a pull after two minutes).
std::vector<std::function<HealthStep()>> tool_steps(std::function<bool()> may_pull);

}  // namespace runnel::cli
