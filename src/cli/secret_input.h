// A password from standard input: never from the command line, which every user can read.
#pragma once

#include <string>

#include "base/error.h"

namespace runnel::cli {

// All of standard input but its last line break. kInvalid when that is empty or absurdly long.
Result<std::string> read_secret();

// The same; somebody at the terminal is asked for it, and does not see it.
Result<std::string> ask_secret(const std::string& question);

}  // namespace runnel::cli
