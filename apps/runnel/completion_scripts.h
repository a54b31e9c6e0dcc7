// What shells complete Runnel's command line with. The scripts are tables: for each command its
// subcommands and flags, from the program's own tree. They run no program while somebody types.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace runnel {

struct CompletedCommand {
  std::string path;                                           // "runnel token create"
  std::vector<std::pair<std::string, std::string>> commands;  // names, what they do
  std::vector<std::pair<std::string, std::string>> flags;     // "--registry", what it is
};

// `all` begins with the program itself.
std::string bash_completion(const std::vector<CompletedCommand>& all);
std::string zsh_completion(const std::vector<CompletedCommand>& all);
std::string fish_completion(const std::vector<CompletedCommand>& all);

// What the three share.

// In single quotes, as all three shells read it.
std::string in_single_quotes(std::string_view text);
// Subcommands and flags, with spaces between.
std::string words_of(const CompletedCommand& command);
// "'runnel/node'|'runnel/registry'": a pattern of case for a path and one of its subcommands; empty
// without any.
std::string steps_of(const CompletedCommand& command);

}  // namespace runnel
