#include "cli/secret_input.h"

#include <cstdio>

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

}  // namespace runnel::cli
