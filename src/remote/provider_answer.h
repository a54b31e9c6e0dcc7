// What a kubelet credential provider answers:
//
//   {"kind": "CredentialProviderResponse", "apiVersion": V,
//    "cacheKeyType": "Image" | "Registry" | "Global", "cacheDuration": "6h",
//    "auth": {PATTERN: {"username": …, "password": …}}}
//
// V is credentialprovider.kubelet.k8s.io/v1, v1beta1 or v1alpha1, as the configuration says.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "remote/credentials.h"
#include "remote/provider_config.h"

namespace runnel::remote {

struct ProviderAnswer {
  enum class GoodFor : uint8_t { kImage, kHost, kEverything };

  // That of the longest pattern which covers the image.
  std::optional<Credential> find(std::string_view image) const;

  std::map<std::string, Credential> auth;  // by pattern
  Duration life{};
  GoodFor good_for = GoodFor::kImage;
};

// kInvalid when it is not the protocol's; the error holds nothing that could be the secret.
Result<ProviderAnswer> parse_provider_answer(std::string_view output,
                                             const CredentialProvider& provider);

}  // namespace runnel::remote
