// The tree of a parsed query. Internal to output/.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

struct Expression {
  enum class Kind : uint8_t {
    kCurrent,     // @, and what stands before a leading bracket
    kField,       // text
    kIndex,       // numbers[0]
    kSlice,       // numbers: start, stop, step
    kLiteral,     // literal
    kChain,       // parts: what to look at, what to pick from it ("a.b", "a | b", "a[0]")
    kProjection,  // parts: a list, what to pick from each of its elements
    kValues,      // parts: an object, what to pick from each of its values
    kFilter,      // parts: a list, what to pick from each, the condition
    kFlatten,     // parts: a list of lists
    kList,        // parts: one for each element
    kHash,        // parts: one for each of names
    kCompare,     // text: the operator; parts: two
    kAnd,         // parts: two
    kOr,          // parts: two
    kNot,         // parts: one
    kFunction,    // text: its name; parts: its arguments
  };
  using Part = std::unique_ptr<Expression>;

  explicit Expression(Kind kind_in) : kind(kind_in) {}

  Kind kind;
  std::string text;
  std::array<std::optional<int64_t>, 3> numbers;
  std::shared_ptr<const boost::json::value> literal;
  std::vector<std::string> names;
  std::vector<Part> parts;
};

}  // namespace runnel::output
