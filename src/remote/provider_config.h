// Kubelet's CredentialProviderConfig: which programs know credentials for which images.
//
//   apiVersion: kubelet.config.k8s.io/v1          (also v1beta1, v1alpha1)
//   kind: CredentialProviderConfig
//   providers:
//     - name: ecr-credential-provider             a program in the directory of providers
//       matchImages: ["*.dkr.ecr.*.amazonaws.com"]
//       defaultCacheDuration: 12h
//       apiVersion: credentialprovider.kubelet.k8s.io/v1
//       args: [get-credentials]
//       env: [{name: AWS_PROFILE, value: example}]
//
// (kubernetes.io, "Configure a kubelet image credential provider".) YAML, and so JSON too.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::remote {

struct CredentialProvider {
  std::string name;
  std::vector<std::string> match_images;
  Duration cache_duration{};  // when an answer names none
  std::string api_version;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
};

// kInvalid, with the place, for what breaks the format; `path` stands in messages.
Result<std::vector<CredentialProvider>> parse_provider_config(const std::string& text,
                                                              const std::string& path);

// Whether `pattern` (matchImages, or a key of a provider's answer) covers `image`, a host with or
// without a port and a repository: as many labels in the host, each matched as by a shell ('*'
// within one label), the same port, a path that begins with the pattern's.
bool matches_image(std::string_view pattern, std::string_view image);

// "12h", "1h30m", "90s", "1.5h", "100ms" (Go's time.ParseDuration, positive ones); kInvalid for
// anything else.
Result<Duration> parse_go_duration(std::string_view text);

}  // namespace runnel::remote
