// Several credential sources, the best first: what can be renewed goes before what was only shown.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "remote/credentials.h"

namespace runnel::remote {

// Any thread may call any method.
class CredentialChain final : public CredentialSource {
 public:
  using Sources = std::vector<std::shared_ptr<CredentialSource>>;

  // `clock` must outlive this.
  CredentialChain(Sources sources, const Clock& clock)
      : sources_(std::move(sources)), clock_(clock) {}

  // The first source that knows one. A source whose credential was refused for this repository
  // lately is asked after the others, so that one wrong password in a file does not hide the right
  // one that a pod brought. The error of a source stands only when no other knows one.
  Result<std::optional<Credential>> find(std::string_view host,
                                         std::string_view repository) override;
  bool refused(std::string_view host, std::string_view repository,
               const Credential& credential) override;
  void exchanged(std::string_view host, std::string_view repository, const Credential& credential,
                 Credential better) override;

 private:
  using Place = std::pair<std::string, std::string>;  // host, repository
  struct Refusal {
    size_t source;
    SteadyTime until;
  };
  std::vector<size_t> order_for(const Place& place);

  const Sources sources_;
  const Clock& clock_;

  std::mutex mutex_;
  std::map<Place, size_t> given_;  // which source found the last one
  std::map<Place, std::vector<Refusal>> refusals_;
};

}  // namespace runnel::remote
