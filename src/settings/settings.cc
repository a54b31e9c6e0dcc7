#include "settings/settings.h"

#include <toml++/toml.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/quote.h"

namespace runnel::settings {

// A node of the document, and what messages about it begin with.
struct Value {
  const toml::node& node;
  std::string_view file;
  std::string key;  // with those above it: "registry.HOST.ca"

  uint32_t line() const { return node.source().begin.line; }
};

namespace {

constexpr uint64_t kMaxFile = 1 << 20;

template <class... Args>
std::unexpected<Error> wrong(const Value& value, fmt::format_string<Args...> format,
                             Args&&... args) {
  return fail(Code::kInvalid, "{}:{}: {} {}", value.file, value.line(), value.key,
              fmt::format(format, std::forward<Args>(args)...));
}

Result<std::string> text_of(const Value& value) {
  if (const auto text = value.node.value_exact<std::string>(); text && !text->empty()) return *text;
  return wrong(value, "must be a text in quotes");
}

Result<const toml::table*> table_of(const Value& value) {
  if (const auto* table = value.node.as_table()) return table;
  return wrong(value, "must be a table: [{}]", value.key);
}

Value below(const Value& above, const toml::node& node, std::string_view key) {
  const auto name = above.key.empty() ? std::string(key) : fmt::format("{}.{}", above.key, key);
  return {.node = node, .file = above.file, .key = name};
}

Result<toml::table> parse(std::string_view text, std::string_view name) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalid, "{}:{}: {}", name, error.source().begin.line, error.description());
  }
}

Result<void> check_version(const toml::table& table, std::string_view name) {
  const auto first = std::ranges::min_element(table, {}, [](const auto& entry) {
    return std::pair(entry.first.source().begin.line, entry.first.source().begin.column);
  });
  if (first == table.end() || first->first.str() != "version")
    return fail(Code::kInvalid, "{}:1: the first key must be version = 1", name);
  if (first->second.template value_exact<int64_t>() != 1)
    return fail(Code::kInvalid, "{}:{}: version must be 1: this program reads no other version",
                name, first->second.source().begin.line);
  return {};
}

}  // namespace

Section& Section::add(std::string key, Setter setter) {
  setters_.emplace_back(std::move(key), std::move(setter));
  return *this;
}

Section& Section::text(std::string key, std::string& into) {
  return add(std::move(key), [&into](const Value& value) -> Result<void> {
    RUNNEL_TRY(into, text_of(value));
    return {};
  });
}

Section& Section::flag(std::string key, bool& into) {
  return choice(std::move(key), [&into](bool value) { into = value; });
}

Section& Section::choice(std::string key, std::function<void(bool)> take) {
  return add(std::move(key), [take = std::move(take)](const Value& value) -> Result<void> {
    const auto flag = value.node.value_exact<bool>();
    if (!flag) return wrong(value, "must be true or false");
    take(*flag);
    return {};
  });
}

Section& Section::texts(std::string key,
                        std::function<Result<void>(std::vector<std::string>)> take) {
  return add(std::move(key), [take = std::move(take)](const Value& value) -> Result<void> {
    const auto* list = value.node.as_array();
    if (list == nullptr) return wrong(value, "must be a list of texts: [\"…\", \"…\"]");
    std::vector<std::string> texts;
    for (const auto& element : *list) {
      RUNNEL_TRY(auto text, text_of({.node = element, .file = value.file, .key = value.key}));
      texts.push_back(std::move(text));
    }
    if (auto taken = take(std::move(texts)); !taken)
      return wrong(value, "{}", taken.error().message);
    return {};
  });
}

Section& Section::number(std::string key, int64_t least, int64_t most,
                         std::function<void(int64_t)> take) {
  return add(std::move(key), [=](const Value& value) -> Result<void> {
    const auto number = value.node.value_exact<int64_t>();
    if (!number || *number < least || *number > most)
      return wrong(value, "must be a number from {} to {}", least, most);
    take(*number);
    return {};
  });
}

Section& Section::meaning(std::string key, std::function<Result<void>(const std::string&)> take) {
  return add(std::move(key), [take = std::move(take)](const Value& value) -> Result<void> {
    RUNNEL_TRY(const auto text, text_of(value));
    if (auto taken = take(text); !taken) return wrong(value, "{}", taken.error().message);
    return {};
  });
}

Section& Section::section(std::string key, Section keys) {
  return add(std::move(key),
             [keys = std::move(keys)](const Value& value) { return keys.apply(value); });
}

Section& Section::each(std::string key, std::function<Section(const std::string&)> make) {
  return add(std::move(key), [make = std::move(make)](const Value& value) -> Result<void> {
    RUNNEL_TRY(const auto* table, table_of(value));
    for (const auto& [name, node] : *table)
      RUNNEL_DO(make(std::string(name.str())).apply(below(value, node, name.str())));
    return {};
  });
}

Section& Section::each_text(
    std::string key,
    std::function<Result<void>(const std::string& name, const std::string& value)> take) {
  return add(std::move(key), [take = std::move(take)](const Value& value) -> Result<void> {
    RUNNEL_TRY(const auto* table, table_of(value));
    for (const auto& [name, node] : *table) {
      const Value one = below(value, node, name.str());
      RUNNEL_TRY(const auto text, text_of(one));
      if (auto taken = take(std::string(name.str()), text); !taken)
        return wrong(one, "{}", taken.error().message);
    }
    return {};
  });
}

Result<void> Section::apply(const Value& value) const {
  RUNNEL_TRY(const auto* table, table_of(value));
  for (const auto& [key, node] : *table) {
    const Value one = below(value, node, key.str());
    const auto found =
        std::ranges::find(setters_, key.str(), &decltype(setters_)::value_type::first);
    if (found == setters_.end())
      return fail(Code::kInvalid, "{}:{}: there is no key {}", value.file, key.source().begin.line,
                  quote(one.key));
    RUNNEL_DO(found->second(one));
  }
  return {};
}

Result<void> read(const Section& keys, std::string_view text, std::string_view name) {
  RUNNEL_TRY(const auto table, parse(text, name));
  RUNNEL_DO(check_version(table, name));
  Section all = keys;
  all.add("version", [](const Value&) { return Result<void>(); });
  return all.apply({.node = table, .file = name, .key = ""});
}

Result<std::string> read_text(const std::string& path) {
  RUNNEL_TRY(const Buffer bytes, read_file(path, kMaxFile));
  return std::string(as_text(bytes));
}

}  // namespace runnel::settings
