#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/json.hpp>

#include "output/write.h"

namespace runnel::output {

namespace json = boost::json;

namespace {

// A text that no reader of YAML takes for something else. The library would write "true", "8" and
// "no" without quotes.
bool is_plain(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || !is_letter(text[0])) return false;
  const auto may_stand = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || std::string_view("_./:@+-").contains(c);
  };
  if (!std::ranges::all_of(text, may_stand) || text.ends_with(':')) return false;
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
    if (lower == word) return false;
  return true;
}

void text(YAML::Emitter& out, std::string_view what) {
  if (!is_plain(what)) out << YAML::DoubleQuoted;
  out << std::string(what);
}

void value(YAML::Emitter& out, const json::value& what) {
  if (const auto* list = what.if_array()) {
    if (list->empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& each : *list) value(out, each);
    out << YAML::EndSeq;
  } else if (const auto* object = what.if_object()) {
    if (object->empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& member : *object) {
      out << YAML::Key;
      text(out, member.key());
      out << YAML::Value;
      value(out, member.value());
    }
    out << YAML::EndMap;
  } else if (const auto* string = what.if_string()) {
    text(out, *string);
  } else if (what.is_null()) {
    out << YAML::Null;
  } else {
    out << json::serialize(what);
  }
}

}  // namespace

std::string write_yaml(const json::value& document) {
  YAML::Emitter out;
  value(out, document);
  return std::string(out.c_str()) + "\n";
}

}  // namespace runnel::output
