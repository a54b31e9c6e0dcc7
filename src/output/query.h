// The part of JMESPath (jmespath.org) that --query understands; docs/command-line.md has the list.
//
// A query is at most 4 KiB and nests at most 64 deep; what it makes is bounded too, because a
// document of a registry and a query of a script can be large together ("[@,@]|[@,@]|…" doubles
// its answer with every step).
#pragma once

#include <memory>
#include <string_view>

#include "base/error.h"

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

struct Expression;

// Immutable: any thread may use it.
class Query {
 public:
  // kInvalid names the place and what stands there.
  static Result<Query> parse(std::string_view text);

  // What the query picks; null where there is nothing. kInvalid when a function gets what it cannot
  // take, kExhausted when the answer would be more than four million values.
  Result<boost::json::value> apply(const boost::json::value& document) const;

 private:
  explicit Query(std::shared_ptr<const Expression> root) : root_(std::move(root)) {}

  std::shared_ptr<const Expression> root_;
};

}  // namespace runnel::output
