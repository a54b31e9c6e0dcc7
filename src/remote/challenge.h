// WWW-Authenticate: how a registry says what it wants to see.
//
//   challenge = scheme [ 1*SP ( token68 / #auth-param ) ]        RFC 9110, 11.3 and 11.6.1
//   auth-param = token "=" ( token / quoted-string )
//
// A header line may carry several challenges; registries send one a line.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel::remote {

struct Challenge {
  std::string scheme;                             // lower case
  std::map<std::string, std::string> parameters;  // names in lower case

  // Empty when absent.
  std::string_view parameter(std::string_view name) const;
};

// kInvalid when the line breaks the grammar (nothing of it is used then).
Result<std::vector<Challenge>> parse_challenges(std::string_view header_line);

}  // namespace runnel::remote
