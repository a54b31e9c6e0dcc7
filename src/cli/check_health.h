// `runnel check-health`: what has to work between this machine and a registry, step by step.
#pragma once

#include <string>

#include "cli/api_options.h"

namespace runnel::cli {

struct CheckHealthOptions {
  ApiOptions api;
  bool ignore_errors = false;  // go on after a failure
  std::string vnet;  // a virtual network's name: the registry has to have private addresses
};

// A line for each step, on standard output; a failure is a line on standard error that begins with
// its code ("CONNECTIVITY_DNS_ERROR"). Fails when one did.
int check_health(const CheckHealthOptions& options);

}  // namespace runnel::cli
