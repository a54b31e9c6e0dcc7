// The modules that a JavaScript source asks for by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runnel::startup {

// The strings of require("…"), import("…"), import "…", import … from "…" and export … from "…",
// each once, in order. Comments are left out; a regular expression with a quote may hide the rest
// of its line. Takes any bytes; at most 4096.
std::vector<std::string> javascript_imports(std::string_view source);

}  // namespace runnel::startup
