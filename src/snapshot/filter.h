// containerd's filters (containerd filters/filter.go), as far as snapshots have fields:
//
//   filters  = any of several; each: selector *( "," selector ), all of which must hold
//   selector = field [ ( "==" / "!=" / "~=" ) value ]       without a value: the field is there
//   field    = "name" / "parent" / "kind" / "labels." ( word / quoted )
//   value    = quoted ("…" with Go's escapes) or everything up to the next comma
#pragma once

#include <regex>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/snapshot.h"

namespace runnel::snapshot {

class Filters {
 public:
  // kInvalid for what the grammar does not have, an unknown field, or a pattern that is no regular
  // expression. No filter at all lets everything through.
  static Result<Filters> parse(std::span<const std::string> filters);

  bool match(const Info& info) const;

 private:
  enum class Operator : uint8_t { kPresent, kEqual, kNotEqual, kMatch };
  struct Selector {
    std::string field;
    std::string label;  // when the field is "labels"
    Operator op = Operator::kPresent;
    std::string value;
    std::regex pattern;

    bool match(const Info& info) const;
  };
  using All = std::vector<Selector>;

  static Result<All> parse_one(std::string_view text);
  static Result<Selector> parse_selector(std::string_view& text);

  std::vector<All> any_;
};

}  // namespace runnel::snapshot
