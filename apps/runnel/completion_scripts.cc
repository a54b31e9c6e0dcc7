#include "completion_scripts.h"

namespace runnel {

std::string in_single_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string words_of(const CompletedCommand& command) {
  std::string words;
  for (const auto& [name, what] : command.commands) words += name + " ";
  for (const auto& [name, what] : command.flags) words += name + " ";
  if (!words.empty()) words.pop_back();
  return words;
}

std::string steps_of(const CompletedCommand& command) {
  std::string steps;
  for (const auto& [name, what] : command.commands)
    steps += (steps.empty() ? "" : "|") + in_single_quotes(command.path + "/" + name);
  return steps;
}

}  // namespace runnel
