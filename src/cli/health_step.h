// One step of `runnel check-health`.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "base/error.h"

namespace runnel::cli {

// A step that failed: its code, as ACR's client has it, and what there is to say of it.
struct Trouble {
  std::string code;
  std::string text;
  // A program that people may do without is not there: told, and no failure.
  bool harmless = false;
};
// The line of a success; empty when the step does not apply.
using HealthStep = std::expected<std::string, Trouble>;

inline std::unexpected<Trouble> trouble(std::string code, std::string text) {
  return std::unexpected(Trouble{std::move(code), std::move(text)});
}

}  // namespace runnel::cli
