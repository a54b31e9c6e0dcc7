// Strings and scalars as cells of tables and lines. Internal to output/.
#pragma once

#include <string>
#include <string_view>

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

// Control characters as \xNN.
std::string harmless(std::string_view text);

// A string as it is (harmless), a number, "true", "false"; nothing for null.
std::string scalar_text(const boost::json::value& value);

// How many columns a terminal needs for it, taking every character for one column wide.
size_t width_of(std::string_view text);

}  // namespace runnel::output
