// The words of a query. Internal to output/.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace boost::json {
class value;
}  // namespace boost::json

namespace runnel::output {

struct Token {
  enum class Kind : uint8_t {
    kEnd,
    kName,     // text; quoted or not
    kQuoted,   // text of a name in double quotes: never a function
    kNumber,   // number
    kLiteral,  // literal: 'text' or `JSON`
    kSign,     // text: . [ ] [] [? * , : { } ( ) @ | || && ! == != < <= > >=
  };

  Kind kind = Kind::kEnd;
  size_t place = 0;  // in the query
  std::string text;
  int64_t number = 0;
  std::shared_ptr<const boost::json::value> literal;

  bool is(std::string_view sign) const { return kind == Kind::kSign && text == sign; }
};

// Ends with one of kind kEnd.
Result<std::vector<Token>> split_query(std::string_view text);

}  // namespace runnel::output
