#include "install/toml_text.h"

#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "base/quote.h"

namespace runnel::install {

namespace {

// A line of the text that is a table's header, "[a.b]".
struct Header {
  size_t line_start;
  size_t next_line;
  std::string indent;
  TomlPath path;
};

Result<toml::table> parse(const std::string& text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalid, "line {}: {}", error.source().begin.line, error.description());
  }
}

const toml::node* find(const toml::table& root, const TomlPath& path) {
  const toml::node* node = &root;
  for (const auto& name : path) {
    const auto* table = node->as_table();
    node = table == nullptr ? nullptr : table->get(name);
    if (node == nullptr) return nullptr;
  }
  return node;
}

// toml++ counts lines and columns from 1, columns in code points.
size_t offset_of(const std::string& text, const toml::source_position& at) {
  size_t offset = 0;
  for (uint32_t line = 1; line < at.line && offset < text.size(); ++line) {
    const auto end = text.find('\n', offset);
    offset = end == std::string::npos ? text.size() : end + 1;
  }
  for (uint32_t column = 1; column < at.column && offset < text.size(); ++column) {
    ++offset;
    while (offset < text.size() && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80)
      ++offset;
  }
  return offset;
}

// The path of a header line; nothing for any other line.
std::optional<TomlPath> header_path(const std::string& line) {
  const auto first = line.find_first_not_of(" \t");
  if (first == std::string::npos || line[first] != '[' || line.substr(first, 2) == "[[") return {};
  const auto parsed = parse(line);
  if (!parsed) return {};
  TomlPath path;
  for (const toml::table* table = &*parsed; !table->empty();) {
    if (table->size() != 1) return {};
    path.emplace_back(table->begin()->first.str());
    table = table->begin()->second.as_table();
    if (table == nullptr) return {};
  }
  return path;
}

std::vector<Header> headers(const std::string& text) {
  std::vector<Header> found;
  for (size_t start = 0; start < text.size();) {
    const auto end = text.find('\n', start);
    const size_t next = end == std::string::npos ? text.size() : end + 1;
    const auto line = text.substr(start, next - start);
    if (auto path = header_path(line)) {
      found.push_back({.line_start = start,
                       .next_line = next,
                       .indent = line.substr(0, line.find_first_not_of(" \t")),
                       .path = *std::move(path)});
    }
    start = next;
  }
  return found;
}

std::string key_text(const std::string& key) {
  const bool bare = !key.empty() && std::ranges::all_of(key, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
  });
  return bare ? key : toml_quote(key);
}

std::string path_text(const TomlPath& path) {
  std::string text;
  for (const auto& name : path) text += (text.empty() ? "" : ".") + key_text(name);
  return text;
}

std::string value_text(const TomlValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return toml_quote(*text);
  std::string list;
  for (const auto& each : std::get<std::vector<std::string>>(value))
    list += (list.empty() ? "" : ", ") + toml_quote(each);
  return "[" + list + "]";
}

// Puts the value into the parsed document, as the edit shall into the text.
Result<void> assign(toml::table& root, const TomlPath& path, const TomlValue& value) {
  toml::table* table = &root;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    table->insert(path[i], toml::table{});  // unless it is there
    table = table->get(path[i])->as_table();
    if (table == nullptr) return fail(Code::kUnsupported, "{} is no table", path[i]);
  }
  std::visit(
      [&](const auto& plain) {
        if constexpr (std::is_same_v<std::decay_t<decltype(plain)>, std::vector<std::string>>) {
          toml::array list;
          for (const auto& each : plain) list.push_back(each);
          table->insert_or_assign(path.back(), std::move(list));
        } else {
          table->insert_or_assign(path.back(), plain);
        }
      },
      value);
  return {};
}

// `edited`, when it says what `before` said with `value` at `path`, and nothing else.
Result<std::string> checked(const toml::table& before, std::string edited, const TomlPath& path,
                            const TomlValue& value) {
  toml::table expected = before;
  RUNNEL_DO(assign(expected, path, value));
  const auto parsed = parse(edited);
  if (parsed && *parsed == expected) return edited;
  return fail(Code::kUnsupported,
              "{} cannot be set without rewriting the file: set it by hand to {}", path_text(path),
              value_text(value));
}

std::string with_newline(std::string text) {
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

// Where a new key of the document's root goes: after "version", or first.
size_t root_place(const std::string& text, const toml::table& root) {
  const auto* version = root.get("version");
  if (version == nullptr) return 0;
  const auto end = text.find('\n', offset_of(text, version->source().begin));
  return end == std::string::npos ? text.size() : end + 1;
}

std::string add_key(const std::string& text, const toml::table& root, const TomlPath& table_path,
                    const std::string& line) {
  if (table_path.empty()) {
    const auto at = root_place(text, root);
    return with_newline(text.substr(0, at)) + line + "\n" + text.substr(at);
  }
  for (const auto& header : headers(text)) {
    if (header.path != table_path) continue;
    return with_newline(text.substr(0, header.next_line)) + header.indent + "  " + line + "\n" +
           text.substr(header.next_line);
  }
  return with_newline(text) + fmt::format("\n[{}]\n  {}\n", path_text(table_path), line);
}

void flatten(const toml::node& node, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& found) {
  if (const auto* table = node.as_table()) {
    for (const auto& [key, value] : *table) {
      auto name = key_text(std::string(key.str()));
      if (!prefix.empty()) name.insert(0, prefix + ".");
      flatten(value, name, found);
    }
    return;
  }
  std::ostringstream text;
  node.visit([&](const auto& plain) {
    if constexpr (toml::is_array<decltype(plain)>) {
      text << toml::toml_formatter(plain, toml::format_flags::none);
    } else if constexpr (!toml::is_table<decltype(plain)>) {
      text << plain;
    }
  });
  found.emplace_back(prefix, text.str());
}

}  // namespace

std::string toml_quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

Result<void> check_toml(const std::string& text) {
  const auto parsed = parse(text);
  if (!parsed) return std::unexpected(parsed.error());
  return {};
}

std::optional<TomlValue> toml_value(const std::string& text, const TomlPath& path) {
  const auto root = parse(text);
  const auto* node = root ? find(*root, path) : nullptr;
  if (node == nullptr) return {};
  if (const auto flag = node->value_exact<bool>()) return TomlValue(*flag);
  if (const auto number = node->value_exact<int64_t>()) return TomlValue(*number);
  if (const auto plain = node->value_exact<std::string>()) return TomlValue(*plain);
  const auto* array = node->as_array();
  if (array == nullptr) return {};
  std::vector<std::string> list;
  for (const auto& each : *array) {
    const auto plain = each.value_exact<std::string>();
    if (!plain) return {};
    list.push_back(*plain);
  }
  return TomlValue(std::move(list));
}

bool toml_has(const std::string& text, const TomlPath& path) {
  const auto root = parse(text);
  return root && find(*root, path) != nullptr;
}

std::vector<std::string> toml_tables(const std::string& text, const TomlPath& path) {
  std::vector<std::string> names;
  const auto root = parse(text);
  const auto* node = root ? find(*root, path) : nullptr;
  const auto* table = node == nullptr ? nullptr : node->as_table();
  if (table == nullptr) return names;
  for (const auto& [key, value] : *table) {
    if (value.is_table()) names.emplace_back(key.str());
  }
  return names;
}

Result<std::vector<std::pair<std::string, std::string>>> toml_flat(const std::string& text) {
  RUNNEL_TRY(const auto root, parse(text));
  std::vector<std::pair<std::string, std::string>> found;
  flatten(root, "", found);
  std::ranges::sort(found);
  return found;
}

Result<std::string> toml_set(const std::string& text, const TomlPath& path,
                             const TomlValue& value) {
  RUNNEL_TRY(const auto root, parse(text));
  const TomlPath table_path(path.begin(), path.end() - 1);
  std::string edited;
  if (const auto* node = find(root, path)) {
    const auto begin = offset_of(text, node->source().begin);
    const auto end = std::max(begin, offset_of(text, node->source().end));
    edited = text.substr(0, begin) + value_text(value) + text.substr(end);
  } else {
    edited = add_key(text, root, table_path,
                     fmt::format("{} = {}", key_text(path.back()), value_text(value)));
  }
  return checked(root, std::move(edited), path, value);
}

Result<std::string> toml_append(const std::string& text, const TomlPath& path,
                                const std::string& value) {
  const auto before = toml_value(text, path);
  const auto* old = before ? std::get_if<std::vector<std::string>>(&*before) : nullptr;
  if (old == nullptr) return toml_set(text, path, std::vector{value});
  RUNNEL_TRY(const auto root, parse(text));
  const auto& array = *find(root, path)->as_array();
  std::string added = toml_quote(value);
  size_t at = offset_of(text, array.source().begin) + 1;  // after the bracket
  if (!array.empty()) {
    at = offset_of(text, array.back().source().end);
    added = ", " + added;
  }
  auto wanted = *old;
  wanted.push_back(value);
  return checked(root, text.substr(0, at) + added + text.substr(at), path, wanted);
}

Result<std::string> toml_insert_first(const std::string& text, const TomlPath& path,
                                      const std::string& key, const TomlValue& value) {
  RUNNEL_TRY(const auto root, parse(text));
  const TomlPath parent(path.begin(), path.end() - 1);
  auto wanted = path;
  wanted.push_back(key);
  const auto table =
      fmt::format("[{}]\n  {} = {}\n", path_text(path), key_text(key), value_text(value));
  const auto* siblings = find(root, parent);
  if (siblings == nullptr) {
    return checked(root, with_newline(text) + (text.empty() ? "" : "\n") + table, wanted, value);
  }
  for (const auto& header : headers(text)) {
    const bool below = header.path.size() > parent.size() &&
                       std::equal(parent.begin(), parent.end(), header.path.begin());
    if (!below) continue;
    return checked(
        root, text.substr(0, header.line_start) + table + "\n" + text.substr(header.line_start),
        wanted, value);
  }
  return fail(Code::kUnsupported, "[{}] is not written as tables with headers: add [{}] by hand",
              path_text(parent), path_text(path));
}

}  // namespace runnel::install
