#include "output/evaluate.h"

#include <algorithm>
#include <boost/json.hpp>

namespace runnel::output {

namespace json = boost::json;

namespace {

constexpr size_t kMaxValues = 4'000'000;
constexpr size_t kMaxStringsBytes = 256 << 20;

using Kind = Expression::Kind;

bool is_true(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return false;
    case json::kind::bool_: return value.get_bool();
    case json::kind::string: return !value.get_string().empty();
    case json::kind::array: return !value.get_array().empty();
    case json::kind::object: return !value.get_object().empty();
    default: return true;
  }
}

const char* kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "a boolean";
    case json::kind::string: return "a text";
    case json::kind::array: return "a list";
    case json::kind::object: return "an object";
    default: return "a number";
  }
}

// Exact for integers of one sign; others as floating point.
bool is_less(const json::value& a, const json::value& b) {
  if (a.is_int64() && b.is_int64()) return a.get_int64() < b.get_int64();
  if (a.is_uint64() && b.is_uint64()) return a.get_uint64() < b.get_uint64();
  return a.to_number<double>() < b.to_number<double>();
}

class Evaluator {
 public:
  Result<json::value> evaluate(const Expression& what, const json::value& from) {
    RUNNEL_TRY(auto made, pick(what, from));
    RUNNEL_DO(count(made));
    return made;
  }

 private:
  std::unexpected<Error> too_much() const {
    return fail(Code::kExhausted, "query: its answer is too large; pick less at once");
  }

  // Every value is copied when it is picked, so what is counted is the work as well.
  Result<void> count(const json::value& value) {
    if (++values_ > kMaxValues) return too_much();
    if (const auto* text = value.if_string()) {
      bytes_ += text->size();
      if (bytes_ > kMaxStringsBytes) return too_much();
    } else if (const auto* list = value.if_array()) {
      for (const auto& each : *list) RUNNEL_DO(count(each));
    } else if (const auto* object = value.if_object()) {
      for (const auto& [key, each] : *object) {
        bytes_ += key.size();
        RUNNEL_DO(count(each));
      }
      if (bytes_ > kMaxStringsBytes) return too_much();
    }
    return {};
  }

  Result<json::value> pick(const Expression& what, const json::value& from) {
    switch (what.kind) {
      case Kind::kCurrent: return from;
      case Kind::kField: return field(what, from);
      case Kind::kIndex: return index(*what.numbers[0], from);
      case Kind::kSlice: return slice(what, from);
      case Kind::kLiteral: return *what.literal;
      case Kind::kChain: return chain(what, from);
      case Kind::kProjection: return projection(what, from);
      case Kind::kValues: return values(what, from);
      case Kind::kFilter: return filter(what, from);
      case Kind::kFlatten: return flatten(what, from);
      case Kind::kList: return list(what, from);
      case Kind::kHash: return hash(what, from);
      case Kind::kCompare: return compare(what, from);
      case Kind::kAnd:
      case Kind::kOr: return logic(what, from);
      case Kind::kNot: return negation(what, from);
      case Kind::kFunction: return function(what, from);
    }
    return nullptr;
  }

  static json::value field(const Expression& what, const json::value& from) {
    const auto* object = from.if_object();
    const auto* found = object != nullptr ? object->if_contains(what.text) : nullptr;
    return found != nullptr ? *found : json::value(nullptr);
  }

  static json::value index(int64_t at, const json::value& from) {
    const auto* all = from.if_array();
    if (all == nullptr) return nullptr;
    const auto size = static_cast<int64_t>(all->size());
    if (at < -size || at >= size) return nullptr;
    return (*all)[static_cast<size_t>(at < 0 ? at + size : at)];
  }

  // As in Python: negative numbers count from the end, a negative step goes backwards.
  static json::value slice(const Expression& what, const json::value& from) {
    const auto* all = from.if_array();
    if (all == nullptr) return nullptr;
    const auto size = static_cast<int64_t>(all->size());
    const int64_t step = std::clamp<int64_t>(what.numbers[2].value_or(1), -size - 1, size + 1);
    const int64_t low = step > 0 ? 0 : -1;
    const int64_t high = step > 0 ? size : size - 1;
    const auto place = [&](std::optional<int64_t> number, int64_t otherwise) {
      if (!number) return otherwise;
      return std::clamp(*number < 0 ? *number + size : *number, low, high);
    };
    json::array out;
    const int64_t stop = place(what.numbers[1], step > 0 ? high : low);
    for (int64_t at = place(what.numbers[0], step > 0 ? low : high);
         step > 0 ? at < stop : at > stop; at += step)
      out.push_back((*all)[static_cast<size_t>(at)]);
    return out;
  }

  Result<json::value> chain(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    return evaluate(*what.parts[1], left);
  }

  Result<void> add_picked(json::array& out, const Expression& what, const json::value& from) {
    RUNNEL_TRY(auto each, evaluate(what, from));
    if (!each.is_null()) out.push_back(std::move(each));
    return {};
  }

  Result<json::value> projection(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    const auto* all = left.if_array();
    if (all == nullptr) return nullptr;
    json::array out;
    for (const auto& each : *all) RUNNEL_DO(add_picked(out, *what.parts[1], each));
    return out;
  }

  Result<json::value> values(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    const auto* object = left.if_object();
    if (object == nullptr) return nullptr;
    json::array out;
    for (const auto& member : *object) RUNNEL_DO(add_picked(out, *what.parts[1], member.value()));
    return out;
  }

  Result<json::value> filter(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    const auto* all = left.if_array();
    if (all == nullptr) return nullptr;
    json::array out;
    for (const auto& each : *all) {
      RUNNEL_TRY(const auto wanted, evaluate(*what.parts[2], each));
      if (is_true(wanted)) RUNNEL_DO(add_picked(out, *what.parts[1], each));
    }
    return out;
  }

  Result<json::value> flatten(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    const auto* all = left.if_array();
    if (all == nullptr) return nullptr;
    json::array out;
    for (const auto& each : *all) {
      if (const auto* inner = each.if_array()) {
        out.insert(out.end(), inner->begin(), inner->end());
      } else {
        out.push_back(each);
      }
    }
    return out;
  }

  Result<json::value> list(const Expression& what, const json::value& from) {
    if (from.is_null()) return nullptr;
    json::array out;
    for (const auto& part : what.parts) {
      RUNNEL_TRY(auto each, evaluate(*part, from));
      out.push_back(std::move(each));
    }
    return out;
  }

  Result<json::value> hash(const Expression& what, const json::value& from) {
    if (from.is_null()) return nullptr;
    json::object out;
    for (size_t i = 0; i < what.parts.size(); ++i) {
      RUNNEL_TRY(auto each, evaluate(*what.parts[i], from));
      out[what.names[i]] = std::move(each);
    }
    return out;
  }

  Result<json::value> compare(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto left, evaluate(*what.parts[0], from));
    RUNNEL_TRY(const auto right, evaluate(*what.parts[1], from));
    if (what.text == "==") return left == right;
    if (what.text == "!=") return left != right;
    if (!left.is_number() || !right.is_number()) return nullptr;
    if (what.text == "<") return is_less(left, right);
    if (what.text == ">") return is_less(right, left);
    if (what.text == "<=") return !is_less(right, left);
    return !is_less(left, right);
  }

  Result<json::value> logic(const Expression& what, const json::value& from) {
    RUNNEL_TRY(auto left, evaluate(*what.parts[0], from));
    if (is_true(left) == (what.kind == Kind::kOr)) return left;
    return evaluate(*what.parts[1], from);
  }

  Result<json::value> negation(const Expression& what, const json::value& from) {
    RUNNEL_TRY(const auto inner, evaluate(*what.parts[0], from));
    return !is_true(inner);
  }

  Result<json::value> function(const Expression& what, const json::value& from);

  size_t values_ = 0;
  size_t bytes_ = 0;
};

// The functions. The parser has counted their arguments.

using Arguments = std::vector<json::value>;

std::unexpected<Error> cannot_take(std::string_view function, const json::value& argument) {
  return fail(Code::kInvalid, "query: {} cannot take {}", function, kind_name(argument));
}

Result<json::value> length(const Arguments& given) {
  const auto& what = given[0];
  if (const auto* list = what.if_array()) return list->size();
  if (const auto* object = what.if_object()) return object->size();
  const auto* text = what.if_string();
  if (text == nullptr) return cannot_take("length", what);
  return std::ranges::count_if(*text, [](char c) { return (c & 0xc0) != 0x80; });
}

Result<json::value> keys(const Arguments& given) {
  const auto* object = given[0].if_object();
  if (object == nullptr) return cannot_take("keys", given[0]);
  json::array out;
  for (const auto& member : *object) out.emplace_back(member.key());
  return out;
}

Result<json::value> object_values(const Arguments& given) {
  const auto* object = given[0].if_object();
  if (object == nullptr) return cannot_take("values", given[0]);
  json::array out;
  for (const auto& member : *object) out.push_back(member.value());
  return out;
}

Result<json::value> contains(const Arguments& given) {
  if (const auto* list = given[0].if_array())
    return std::ranges::find(*list, given[1]) != list->end();
  const auto* text = given[0].if_string();
  if (text == nullptr) return cannot_take("contains", given[0]);
  const auto* part = given[1].if_string();
  return part != nullptr && std::string_view(*text).contains(std::string_view(*part));
}

// starts_with and ends_with
template <bool starts>
Result<json::value> touches(const Arguments& given) {
  constexpr const char* kName = starts ? "starts_with" : "ends_with";
  const auto* text = given[0].if_string();
  if (text == nullptr) return cannot_take(kName, given[0]);
  const auto* part = given[1].if_string();
  if (part == nullptr) return cannot_take(kName, given[1]);
  const std::string_view whole(*text);
  return starts ? whole.starts_with(std::string_view(*part))
                : whole.ends_with(std::string_view(*part));
}

Result<json::value> sort(const Arguments& given) {
  const auto* list = given[0].if_array();
  if (list == nullptr) return cannot_take("sort", given[0]);
  const auto all = [&](auto is) { return std::ranges::all_of(*list, is); };
  json::array out = *list;
  if (all([](const json::value& each) { return each.is_string(); })) {
    std::ranges::sort(out, {},
                      [](const json::value& each) { return std::string_view(each.get_string()); });
  } else if (all([](const json::value& each) { return each.is_number(); })) {
    std::ranges::sort(out, is_less);
  } else {
    return fail(Code::kInvalid, "query: sort takes a list of texts or a list of numbers");
  }
  return out;
}

Result<json::value> reverse(const Arguments& given) {
  const auto* list = given[0].if_array();
  if (list == nullptr) return cannot_take("reverse", given[0]);
  return json::array(std::make_reverse_iterator(list->end()),
                     std::make_reverse_iterator(list->begin()));
}

Result<json::value> join(const Arguments& given) {
  const auto* between = given[0].if_string();
  if (between == nullptr) return cannot_take("join", given[0]);
  const auto* list = given[1].if_array();
  if (list == nullptr) return cannot_take("join", given[1]);
  json::string out;
  for (const auto& each : *list) {
    if (!each.is_string()) return cannot_take("join", each);
    if (&each != &list->front()) out += *between;
    out += each.get_string();
    if (out.size() > kMaxStringsBytes)
      return fail(Code::kExhausted, "query: what join makes is too large");
  }
  return out;
}

struct Function {
  std::string_view name;
  size_t arguments;
  Result<json::value> (*run)(const Arguments&);
};

constexpr Function kFunctions[] = {
    {"contains", 2, contains},
    {"ends_with", 2, touches<false>},
    {"join", 2, join},
    {"keys", 1, keys},
    {"length", 1, length},
    {"reverse", 1, reverse},
    {"sort", 1, sort},
    {"starts_with", 2, touches<true>},
    {"values", 1, object_values},
};

const Function* find_function(std::string_view name) {
  const auto* found = std::ranges::find(kFunctions, name, &Function::name);
  return found != std::end(kFunctions) ? found : nullptr;
}

Result<json::value> Evaluator::function(const Expression& what, const json::value& from) {
  Arguments given;
  for (const auto& part : what.parts) {
    RUNNEL_TRY(auto each, evaluate(*part, from));
    given.push_back(std::move(each));
  }
  return find_function(what.text)->run(given);
}

}  // namespace

Result<json::value> evaluate(const Expression& root, const json::value& document) {
  return Evaluator().evaluate(root, document);
}

std::optional<size_t> arguments_of(std::string_view function) {
  const auto* found = find_function(function);
  return found != nullptr ? std::optional(found->arguments) : std::nullopt;
}

std::string function_names() {
  std::string all;
  for (const auto& each : kFunctions) {
    all += all.empty() ? "" : ", ";
    all += each.name;
  }
  return all;
}

}  // namespace runnel::output
