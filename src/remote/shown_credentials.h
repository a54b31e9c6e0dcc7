// What the mirror's clients sent, and the registry took: a pod's own secret, kept in memory for the
// repository it was used for, so that the rest of the image can be read after the client's token
// has expired.
//
// Nothing of it is ever written to a disk, and it is used for no other repository: the secret is
// the pod's, not the node's.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "remote/credentials.h"

namespace runnel::remote {

// Any thread may call any method.
class ShownCredentials final : public CredentialSource {
 public:
  // `clock` must outlive this. `memory` is a file in memory (memfd_create) that outlives the
  // process: what an earlier one kept there is known again. Invalid for none.
  explicit ShownCredentials(const Clock& clock, UniqueFd memory = {});

  // Goes over an earlier one; but a bare token never over a secret, which can be renewed.
  void show(std::string host, std::string repository, Credential credential);

  // An expired token is none.
  Result<std::optional<Credential>> find(std::string_view host,
                                         std::string_view repository) override;
  // Forgets it.
  bool refused(std::string_view host, std::string_view repository,
               const Credential& credential) override;
  // Keeps the better one instead, in memory as well.
  void exchanged(std::string_view host, std::string_view repository, const Credential& credential,
                 Credential better) override;

 private:
  using Place = std::pair<std::string, std::string>;  // host, repository

  void load();
  void save_locked() const;

  const Clock& clock_;
  const UniqueFd memory_;
  std::mutex mutex_;
  std::map<Place, Credential> known_;
  std::deque<Place> order_;  // the oldest first
};

// When a token says itself that it expires: the "exp" of a JWT (RFC 7519), unverified. Nothing for
// any other text.
std::optional<WallTime> expiry_of_token(std::string_view token);

}  // namespace runnel::remote
