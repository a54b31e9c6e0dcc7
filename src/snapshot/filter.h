// containerd's filters (containerd filters/parser.go), as far as snapshots have fields:
//
//   filters  = any of several; each: selector *( "," selector ), all of which must hold
//   selector = field [ ( "==" / "!=" / "~=" ) value ]       without a value: the field is there
//   field    = "name" / "parent" / "kind" / "labels." part *( "." part )
//   part     = 1*( letter / digit / "_" ) / quoted
//   value    = quoted / everything up to the next comma or space
//   quoted   = "…" with Go's escapes; a pattern may also stand between / or |
//
// An empty filter lets everything through. A pattern is RE2's, which is Go's, and takes linear
// time. One thing is stricter than in containerd: an unknown field is an error, not absent.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "snapshot/snapshot.h"

namespace re2 {
class RE2;
}

namespace runnel::snapshot {

class Filters {
 public:
  // kInvalid for what the grammar does not have, an unknown field, a pattern that is no regular
  // expression, or more than 128 filters of 4096 bytes. No filter at all lets everything through.
  static Result<Filters> parse(std::span<const std::string> filters);

  bool match(const Info& info) const;
  // The parent that everything has which matches, if they say one. containerd asks so for each
  // layer of a pull, and need not look at all that there is.
  std::optional<std::string> parent() const;

 private:
  class Parser;
  enum class Operator : uint8_t { kPresent, kEqual, kNotEqual, kMatch };
  enum class Field : uint8_t { kName, kParent, kKind, kLabel };
  struct Selector {
    Field field = Field::kName;
    std::string label;
    Operator op = Operator::kPresent;
    std::string value;
    std::shared_ptr<const re2::RE2> pattern;

    bool match(const Info& info) const;
  };
  using All = std::vector<Selector>;

  std::vector<All> any_;
};

}  // namespace runnel::snapshot
