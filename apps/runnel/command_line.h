// The command line: what there is to type, and its help.
#pragma once

namespace runnel {

// Parses the arguments, runs what they say and returns the exit code: 0 done, 1 failed, 2 usage.
int run_command_line(int argc, char** argv);

}  // namespace runnel
