// The two formats that see a document as rows: each element of a list, or the document itself.
#include <algorithm>
#include <boost/json.hpp>
#include <vector>

#include "output/text.h"
#include "output/write.h"

namespace runnel::output {

namespace json = boost::json;

namespace {

using Row = std::vector<std::string>;

bool is_nested(const json::value& value) {
  return value.is_array() || value.is_object();
}

// A list as itself, anything else as a list of it.
std::vector<const json::value*> rows_of(const json::value& document) {
  std::vector<const json::value*> rows;
  if (const auto* list = document.if_array()) {
    for (const auto& each : *list) rows.push_back(&each);
  } else if (!document.is_null()) {
    rows.push_back(&document);
  }
  return rows;
}

// What stands in a cell for a value: of a list how long it is, of an object nothing.
std::string cell(const json::value& value) {
  if (const auto* list = value.if_array()) return std::to_string(list->size());
  return value.is_object() ? std::string() : scalar_text(value);
}

// A document that wraps one list ({"manifests": […]}) is a table of that list.
const json::value* unwrapped(const json::value* document) {
  const auto* object = document->if_object();
  if (object == nullptr || object->size() != 1) return document;
  const auto* only = &object->begin()->value();
  return only->is_array() ? only : document;
}

std::string head_of(std::string_view name) {
  std::string head = harmless(name);
  if (!head.empty() && head[0] >= 'a' && head[0] <= 'z') head[0] = static_cast<char>(head[0] - 32);
  return head;
}

// The names of all members that are no list or object in any row, in the order they come up.
std::vector<std::string> columns_of(const std::vector<const json::value*>& rows) {
  std::vector<std::string> names;
  for (const auto* row : rows) {
    const auto* object = row->if_object();
    if (object == nullptr) continue;
    for (const auto& member : *object) {
      if (!is_nested(member.value()) && std::ranges::find(names, member.key()) == names.end())
        names.emplace_back(member.key());
    }
  }
  return names;
}

std::string lay_out(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string out;
  const auto add = [&](const Row& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add(rows[0]);
  Row rule;
  for (const auto width : widths) rule.emplace_back(width, '-');
  add(rule);
  for (size_t i = 1; i < rows.size(); ++i) add(rows[i]);
  return out;
}

}  // namespace

std::string write_table(const json::value& document) {
  const auto rows = rows_of(*unwrapped(&document));
  const auto columns = columns_of(rows);
  std::vector<Row> cells;
  if (columns.empty()) {
    cells.push_back({"Result"});
    for (const auto* row : rows)
      if (!row->is_object()) cells.push_back({cell(*row)});
    return cells.size() == 1 ? std::string() : lay_out(cells);
  }
  Row head;
  for (const auto& name : columns) head.push_back(head_of(name));
  cells.push_back(std::move(head));
  for (const auto* row : rows) {
    const auto* object = row->if_object();
    Row line;
    for (const auto& name : columns) {
      const auto* value = object != nullptr ? object->if_contains(name) : nullptr;
      line.push_back(value == nullptr || is_nested(*value) ? std::string() : scalar_text(*value));
    }
    cells.push_back(std::move(line));
  }
  return lay_out(cells);
}

std::string write_lines(const json::value& document) {
  std::string out;
  for (const auto* row : rows_of(document)) {
    std::string line;
    bool first = true;
    const auto add = [&](const json::value& value) {
      if (!std::exchange(first, false)) line += '\t';
      line += cell(value);
    };
    if (const auto* list = row->if_array()) {
      for (const auto& each : *list) add(each);
    } else if (const auto* object = row->if_object()) {
      for (const auto& member : *object) add(member.value());
    } else {
      add(*row);
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace runnel::output
