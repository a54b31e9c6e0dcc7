// One writer for each format. Internal to output/.
#pragma once

#include <string>

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

std::string write_json(const boost::json::value& document, bool coloured);
std::string write_table(const boost::json::value& document);
std::string write_lines(const boost::json::value& document);
std::string write_yaml(const boost::json::value& document);

}  // namespace runnel::output
