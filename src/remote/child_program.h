// Runs a small program that answers a question: a credential helper or provider.
//
// The question goes to its standard input, never into its arguments, where every user of the
// machine could read it.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace runnel::remote {

struct ProgramLimits {
  std::chrono::milliseconds time{10'000};
  size_t output_bytes = 64 << 10;
};

struct ProgramCall {
  std::string program;  // a path, or a name that is sought in PATH
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;  // besides our own
  std::string question;
};

struct ProgramOutcome {
  int status = 0;  // as waitpid gives it
  std::string output;
};

// Blocks until the program ends or the time is over; it is killed then, with everything it started.
// kInvalid when it writes too much, kUnavailable when it is too slow. Errors never hold what it
// wrote, which may be the secret.
Result<ProgramOutcome> run_program(const ProgramCall& call, const ProgramLimits& limits);

// An error unless the program ended by itself with exit code 0.
Result<void> check_ended_well(const ProgramOutcome& outcome);

}  // namespace runnel::remote
