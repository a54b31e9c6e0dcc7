// `runnel token …` and `runnel scope-map …`: who may do what in a registry of ours without being a
// person.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/api_options.h"

namespace runnel::cli {

struct TokenOptions {
  ApiOptions api;
  std::string name;  // of the token or the scope map
  std::string scope_map;
  std::string description;
  // Names of repositories, each followed by what may be done in it: "team/*", "content/read", ….
  std::vector<std::string> rights;
  std::vector<std::string> rights_taken;  // of an update, the same
  std::vector<std::string> actions;       // "repositories/team/*/content/read"
  std::string status;                     // "enabled", "disabled", "" to leave it
  std::optional<int> days;                // until the passwords end
  bool first = false;                     // which passwords; both when neither is said
  bool second = false;
  bool no_passwords = false;
};

int token_list(const TokenOptions& options);
int token_show(const TokenOptions& options);
// Makes the token, with a scope map of its name when there are rights, and prints it with its
// passwords, which are kept nowhere.
int token_create(const TokenOptions& options);
int token_update(const TokenOptions& options);
// Makes passwords anew and prints them.
int token_generate(const TokenOptions& options);
int token_delete(const TokenOptions& options);

int scope_map_list(const TokenOptions& options);
int scope_map_show(const TokenOptions& options);
int scope_map_create(const TokenOptions& options);
int scope_map_update(const TokenOptions& options);
int scope_map_delete(const TokenOptions& options);

}  // namespace runnel::cli
