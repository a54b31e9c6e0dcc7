// Scripts: who runs them, and which programs a shell script calls.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runnel::startup {

// The words after "#!" in a file that starts with `head`: the interpreter and at most one argument,
// as Linux has it (fs/binfmt_script.c). Empty when it has no such line.
std::vector<std::string> interpreter_of(std::string_view head);

// The words that a shell script has where a command's name stands, each once, in order, and what it
// sources (". FILE"). Words with quotes, variables or patterns are left out. At most 256.
struct ShellWords {
  std::vector<std::string> commands;
  std::vector<std::string> sourced;
};
ShellWords shell_words(std::string_view script);

}  // namespace runnel::startup
