// Kubelet's image credential providers: the programs that turn a cloud machine's identity into a
// registry's password, asked here with kubelet's own configuration.
//
//   DIR/NAME args…   <- {"kind": "CredentialProviderRequest", "apiVersion": V,
//                        "image": "HOST/REPO"}
//                    -> what provider_answer.h reads
//
// V is credentialprovider.kubelet.k8s.io/v1, v1beta1 or v1alpha1, as the configuration says.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "remote/child_program.h"
#include "remote/credentials.h"
#include "remote/provider_answer.h"
#include "remote/provider_config.h"

namespace runnel::remote {

// Any thread may call any method.
class CredentialProviders final : public CredentialSource {
 public:
  // The file is read again for every question, so that a change is seen; answers are kept for as
  // long as they say. `clock` must outlive this.
  CredentialProviders(std::string config, std::string directory, const Clock& clock,
                      ProgramLimits limits = {});

  Result<std::optional<Credential>> find(std::string_view host,
                                         std::string_view repository) override;
  // Drops the answer that had it: the provider is asked again, though not more often than every
  // ten seconds.
  bool refused(std::string_view host, std::string_view repository,
               const Credential& credential) override;

 private:
  struct Answer {
    ProviderAnswer said;
    SteadyTime asked{};
    SteadyTime until{};
  };
  Result<std::shared_ptr<const Answer>> answer_of(const CredentialProvider& provider,
                                                  const std::string& image, std::string_view host);
  Result<std::shared_ptr<const Answer>> ask(const CredentialProvider& provider,
                                            const std::string& image, std::string_view host);

  const std::string config_;
  const std::string directory_;
  const Clock& clock_;
  const ProgramLimits limits_;

  std::mutex mutex_;
  // By provider and what the answer is good for: an image, a host, or everything ("").
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const Answer>> answers_;
};

}  // namespace runnel::remote
