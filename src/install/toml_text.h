// Edits of TOML files that keep every other byte of them: comments, order, indentation.
//
// An edit finds its place by the text, writes there, and parses the result: unless that says what
// the old text said and the one new value besides, it is refused. So a file whose form is not
// understood here (inline or dotted tables where a header was expected, say) is never damaged.
// Pure: no I/O. Errors are kInvalid (no TOML) and kUnsupported (cannot be edited as text).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"

namespace runnel::install {

using TomlPath = std::vector<std::string>;
using TomlValue = std::variant<bool, int64_t, std::string, std::vector<std::string>>;

// Whether it is TOML.
Result<void> check_toml(const std::string& text);

// The value at `path`; nothing when it is not there or of another kind.
std::optional<TomlValue> toml_value(const std::string& text, const TomlPath& path);

// Whether there is anything at `path`, a table included.
bool toml_has(const std::string& text, const TomlPath& path);

// The names of the tables below `path`, sorted.
std::vector<std::string> toml_tables(const std::string& text, const TomlPath& path);

// Every value of the document (arrays whole) by its dotted path; for comparing two documents.
Result<std::vector<std::pair<std::string, std::string>>> toml_flat(const std::string& text);

// Sets the key `path.back()` of the table above it: its value is replaced where it stands, else a
// line follows the table's header, else the table is added at the end.
Result<std::string> toml_set(const std::string& text, const TomlPath& path, const TomlValue& value);

// Adds a text to the end of the list at `path`; makes the list when it is not there.
Result<std::string> toml_append(const std::string& text, const TomlPath& path,
                                const std::string& value);

// Adds the table `path` with one key before every other table below path's parent: where order
// means precedence.
Result<std::string> toml_insert_first(const std::string& text, const TomlPath& path,
                                      const std::string& key, const TomlValue& value);

// "text" with what TOML asks to be escaped.
std::string toml_quote(const std::string& text);

}  // namespace runnel::install
