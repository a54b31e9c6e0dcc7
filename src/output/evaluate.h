// What a parsed query picks from a document. Internal to output/.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "output/expression.h"

namespace runnel::output {

// See Query::apply().
Result<boost::json::value> evaluate(const Expression& root, const boost::json::value& document);

// How many arguments a function takes; empty when there is none of this name.
std::optional<size_t> arguments_of(std::string_view function);
// "contains, ends_with, …"
std::string function_names();

}  // namespace runnel::output
