#include "snapshot/filter.h"

#include <algorithm>
#include <optional>

#include "base/quote.h"

namespace runnel::snapshot {

namespace {

constexpr size_t kMaxFilterSize = 4096;

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kView: return "view";
    case Kind::kActive: return "active";
    case Kind::kCommitted: return "committed";
  }
  return "unknown";
}

// A quoted text at the front, taken off. Backslash escapes a quote or a backslash.
Result<std::string> take_quoted(std::string_view& text) {
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return fail(Code::kInvalid, "filter: a quote is not closed in {}", quote(text));
}

Result<std::string> take_until(std::string_view& text, std::string_view stops) {
  if (text.starts_with('"')) return take_quoted(text);
  const auto end = std::min(text.find_first_of(stops), text.size());
  std::string out(text.substr(0, end));
  text.remove_prefix(end);
  return out;
}

}  // namespace

Result<Filters> Filters::parse(std::span<const std::string> filters) {
  Filters out;
  for (const auto& text : filters) {
    if (text.size() > kMaxFilterSize)
      return fail(Code::kInvalid, "filter of {} bytes", text.size());
    RUNNEL_TRY(auto all, parse_one(text));
    out.any_.push_back(std::move(all));
  }
  return out;
}

Result<Filters::All> Filters::parse_one(std::string_view text) {
  All all;
  while (!text.empty()) {
    RUNNEL_TRY(auto selector, parse_selector(text));
    all.push_back(std::move(selector));
    if (text.empty()) break;
    if (text[0] != ',') return fail(Code::kInvalid, "filter: unexpected {}", quote(text));
    text.remove_prefix(1);
  }
  return all;
}

Result<Filters::Selector> Filters::parse_selector(std::string_view& text) {
  Selector selector;
  RUNNEL_TRY(selector.field, take_until(text, ".=!~,"));
  if (selector.field == "labels") {
    if (!text.starts_with('.')) return fail(Code::kInvalid, "filter: labels needs a name");
    text.remove_prefix(1);
    RUNNEL_TRY(selector.label, take_until(text, "=!~,"));
  } else if (selector.field != "name" && selector.field != "parent" && selector.field != "kind") {
    return fail(Code::kInvalid, "filter: snapshots have no field {}", quote(selector.field));
  }
  if (text.empty() || text[0] == ',') return selector;

  const auto symbol = text.substr(0, 2);
  if (symbol == "==") {
    selector.op = Operator::kEqual;
  } else if (symbol == "!=") {
    selector.op = Operator::kNotEqual;
  } else if (symbol == "~=") {
    selector.op = Operator::kMatch;
  } else {
    return fail(Code::kInvalid, "filter: unknown operator at {}", quote(text));
  }
  text.remove_prefix(2);
  RUNNEL_TRY(selector.value, take_until(text, ","));
  if (selector.op != Operator::kMatch) return selector;
  try {
    selector.pattern = std::regex(selector.value, std::regex::ECMAScript);
  } catch (const std::regex_error&) {
    return fail(Code::kInvalid, "filter: {} is no regular expression", quote(selector.value));
  }
  return selector;
}

bool Filters::match(const Info& info) const {
  if (any_.empty()) return true;
  return std::ranges::any_of(any_, [&](const All& all) {
    return std::ranges::all_of(all, [&](const Selector& each) { return each.match(info); });
  });
}

bool Filters::Selector::match(const Info& info) const {
  std::optional<std::string> found;
  if (field == "name") found = info.name;
  if (field == "parent") found = info.parent;
  if (field == "kind") found = kind_name(info.kind);
  if (field == "labels") {
    if (const auto at = info.labels.find(label); at != info.labels.end()) found = at->second;
  }
  switch (op) {
    case Operator::kPresent: return found && !found->empty();
    case Operator::kEqual: return found && *found == value;
    case Operator::kNotEqual: return !found || *found != value;
    case Operator::kMatch: return found && std::regex_search(*found, pattern);
  }
  return false;
}

}  // namespace runnel::snapshot
