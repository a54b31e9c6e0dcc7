// What all commands have that speak to a registry's own API.
#pragma once

#include <optional>
#include <string>

#include "cli/cli.h"

namespace runnel::cli {

struct OutputOptions {
  std::string format = "json";  // one that output::parse_format() takes
  std::string query;            // one that output::Query::parse() takes, or nothing
};

struct ApiOptions {
  RegistryOptions registry;
  std::string host;    // HOST[:PORT], or a name that `suffix` makes one
  std::string suffix;  // of registries' names that have no '.' and no ':'
  // Instead of those that docker's configuration has.
  std::string user;
  std::string password;
  bool password_stdin = false;
  OutputOptions output;
  bool yes = false;  // do not ask
};

}  // namespace runnel::cli
