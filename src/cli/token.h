// `runnel token …`: the tokens and scope maps of a registry of ours.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/cli.h"

namespace runnel::cli {

struct TokenOptions {
  RegistryOptions registry;
  std::string host;
  std::string user;  // with the password of standard input; "": docker's configuration knows both
  std::string name;  // of the token or the scope map
  std::string scope_map;
  std::vector<std::string> actions;  // "repositories/team/*/content/read"
  std::optional<int> days;           // until the password ends
  bool second = false;               // password2: the first goes on meanwhile
  bool json = false;
};

int token_list(const TokenOptions& options);
// Makes the token, with a scope map of its name when there are actions, and prints its first
// password, which is kept nowhere.
int token_create(const TokenOptions& options);
// Prints a new password.
int token_password(const TokenOptions& options);
int token_enable(const TokenOptions& options);
int token_disable(const TokenOptions& options);
int token_delete(const TokenOptions& options);
int scope_map_list(const TokenOptions& options);
int scope_map_set(const TokenOptions& options);
int scope_map_delete(const TokenOptions& options);

}  // namespace runnel::cli
