// The scopes of the Docker token flow: "repository:team/app:pull,push", "registry:catalog:*".
// https://distribution.github.io/distribution/spec/auth/scope/
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "access/action.h"
#include "base/error.h"

namespace runnel::access {

struct Scope {
  enum class Kind : uint8_t { kRepository, kCatalog };

  Scope() = default;
  Scope(std::string repository_name, Actions wanted)
      : repository(std::move(repository_name)), actions(wanted) {}
  static Scope catalog() {
    Scope scope;
    scope.kind = Kind::kCatalog;
    return scope;
  }

  Kind kind = Kind::kRepository;
  std::string repository;  // empty for the catalog
  Actions actions;         // none for the catalog: there is one thing to do with it

  bool operator==(const Scope&) const = default;
};

// Scopes that are separated by spaces. The name ends at the last colon, because it may have one
// itself. Kinds of resources that are not known here are left out. kInvalid for text that is no
// scope, or more than 100 of them.
Result<std::vector<Scope>> parse_scopes(std::string_view text);

std::string to_string(const Scope& scope);

}  // namespace runnel::access
