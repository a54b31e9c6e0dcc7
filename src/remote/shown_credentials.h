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

  // Somebody pulls the image, whose manifest has that digest: a bare token of the repository is
  // wanted for it and for the last kMostImages before it.
  void saw_image(const std::string& host, const std::string& repository, const std::string& digest);

  // Goes over an earlier one; but a bare token never over a secret, which can be renewed. Over what
  // an exchange gave it goes when an image came that this is not for.
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
  static constexpr size_t kMostImages = 32;           // as the registry takes them

  void load();
  void save_locked() const;
  void add_images_locked(const Place& place, Credential& credential) const;
  bool is_enough_locked(const Place& place, const Credential& credential) const;

  const Clock& clock_;
  const UniqueFd memory_;
  std::mutex mutex_;
  std::map<Place, Credential> known_;
  std::deque<Place> order_;  // the oldest first
  // Bare tokens beside what was exchanged before an image came.
  std::map<Place, Credential> bare_;
  std::map<Place, std::deque<std::string>> images_;  // the latest last
};

// When a token says itself that it expires: the "exp" of a JWT (RFC 7519), unverified. Nothing for
// any other text.
std::optional<WallTime> expiry_of_token(std::string_view token);

}  // namespace runnel::remote
