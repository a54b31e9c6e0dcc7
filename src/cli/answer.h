// How commands show a JSON document, and how they ask before they destroy something.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/api_options.h"
#include "cli/failure.h"

namespace boost::json {
class object;
class value;
}  // namespace boost::json

namespace runnel::cli {

// Prints what --query picks of the document, as --output says.
Result<void> show(const OutputOptions& options, const boost::json::value& document);

// A line on standard error that is no failure.
void warn(std::string_view text);

// Asks on the terminal and reads y or n, unless `yes`. kCancelled for n; kDenied without a
// terminal: nobody is there to answer.
Result<void> confirm(bool yes, const std::string& question);

// Exit code 0, or that of report(), with the error reported.
int exit_code(const Outcome<void>& done);

// A member that is a text; empty when it is absent or something else.
std::string text_of(const boost::json::object& object, std::string_view name);

}  // namespace runnel::cli
