// Credentials of a client that has none.
#pragma once

#include <optional>
#include <string_view>

#include "base/error.h"
#include "remote/credentials.h"

namespace runnel::test {

class Anonymous final : public remote::CredentialSource {
 public:
  Result<std::optional<remote::Credential>> find(std::string_view, std::string_view) override {
    return std::nullopt;
  }
};

}  // namespace runnel::test
