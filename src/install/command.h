// Runs other programs: containerd's client, systemctl.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::install {

// What the program printed on standard output. kUnavailable when it could not be started, ended
// with another code than 0 (the message has the end of what it said), or was not done in time, when
// it is killed with all that it started. Output of more than a few megabytes is an error too.
Result<std::string> run_command(const std::vector<std::string>& argv, Duration timeout);

// The same for a line of the shell.
Result<std::string> run_shell(const std::string& line, Duration timeout);

}  // namespace runnel::install
