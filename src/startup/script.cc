#include "startup/script.h"

#include <algorithm>
#include <array>

namespace runnel::startup {

namespace {

constexpr size_t kMaxLine = 255;  // BINPRM_BUF_SIZE - 1
constexpr size_t kMaxWords = 256;

std::string_view without_blanks(std::string_view text) {
  const auto from = std::min(text.find_first_not_of(" \t\r"), text.size());
  text.remove_prefix(from);
  text.remove_suffix(text.size() - 1 - std::min(text.find_last_not_of(" \t\r"), text.size() - 1));
  return text;
}

bool is_plain(std::string_view word) {
  return word.find_first_of("\"'$*?[]{}=<>\\~!#") == std::string_view::npos;
}

// Words after which another command's name comes.
bool goes_on(std::string_view word) {
  constexpr std::array<std::string_view, 12> kWords = {
      "if", "then", "else", "elif", "do", "while", "until", "!", "exec", "{", "eval", "command"};
  return std::ranges::find(kWords, word) != kWords.end() ||
         (word.find('=') != std::string_view::npos && !word.starts_with('='));
}

void add_once(std::vector<std::string>& words, std::string_view word) {
  if (words.size() >= kMaxWords || std::ranges::find(words, word) != words.end()) return;
  words.emplace_back(word);
}

}  // namespace

std::vector<std::string> interpreter_of(std::string_view head) {
  if (!head.starts_with("#!")) return {};
  auto line = head.substr(2, std::min(head.find('\n'), kMaxLine) - 2);
  line = without_blanks(line);
  if (line.empty()) return {};
  const auto end = std::min(line.find_first_of(" \t"), line.size());
  std::vector<std::string> out = {std::string(line.substr(0, end))};
  const auto argument = without_blanks(line.substr(end));
  if (!argument.empty()) out.emplace_back(argument);
  return out;
}

ShellWords shell_words(std::string_view script) {
  ShellWords out;
  while (!script.empty()) {
    auto line = script.substr(0, script.find('\n'));
    script.remove_prefix(std::min(script.size(), line.size() + 1));
    line = without_blanks(line);
    if (line.starts_with('#')) continue;
    bool at_command = true;
    bool at_sourced = false;
    while (!line.empty()) {
      const auto blanks = std::min(line.find_first_not_of(" \t"), line.size());
      line.remove_prefix(blanks);
      if (line.empty()) break;
      const auto cut = line.find_first_of(" \t;|&()`");
      const auto word = line.substr(0, cut);
      if (word.empty()) {
        at_command = true;
        line.remove_prefix(1);
        continue;
      }
      line.remove_prefix(word.size());
      if (at_sourced && is_plain(word)) add_once(out.sourced, word);
      at_sourced = at_command && (word == "." || word == "source");
      if (at_command && is_plain(word) && !at_sourced && !goes_on(word))
        add_once(out.commands, word);
      at_command = at_command && goes_on(word);
    }
  }
  return out;
}

}  // namespace runnel::startup
