#include "cli/secret_input.h"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace runnel::cli {

Result<std::string> read_secret() {
  constexpr size_t kMost = 64 << 10;
  std::string text(kMost + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), stdin));
  if (text.size() > kMost)
    return fail(Code::kInvalid, "the password is longer than {} bytes", kMost);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return fail(Code::kInvalid, "standard input has no password");
  return text;
}

Result<std::string> ask_secret(const std::string& question) {
  termios before{};
  if (::isatty(STDIN_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &before) != 0) return read_secret();
  auto silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  // First, because it throws away what was typed before.
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  fmt::print(stderr, "{}", question);
  std::string line;
  const bool read = static_cast<bool>(std::getline(std::cin, line));
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  fmt::print(stderr, "\n");
  if (!read || line.empty()) return fail(Code::kInvalid, "no password was typed");
  return line;
}

}  // namespace runnel::cli
