// A JSON document as text for people and scripts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

enum class Format : uint8_t {
  kJson,   // indented by two spaces
  kJsonc,  // the same, in colours
  kTable,  // for people: columns, a line under their heads; what is nested is left out
  kTsv,    // for scripts: a line for each element, its members with tabs between them
  kYaml,
};

// "json", "jsonc", "table", "tsv" or "yaml". kInvalid for anything else.
Result<Format> parse_format(std::string_view name);

// Ends with a newline unless there is nothing to show: an empty list as table or lines. Control
// characters in strings are written as \xNN in tables and lines, so that a terminal obeys none.
std::string write(const boost::json::value& document, Format format);

}  // namespace runnel::output
