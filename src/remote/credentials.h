// Who we are at a registry.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "remote/secret.h"

namespace runnel::remote {

struct Credential {
  enum class Kind : uint8_t {
    kPassword,       // user and password (or a personal token in its place)
    kIdentityToken,  // an OAuth 2 refresh token: good at the token server only
    kBearer,         // good at the registry as it is
  };

  std::string user;
  Secret secret;
  Kind kind = Kind::kPassword;
  // The end of a token, where it is known.
  std::optional<WallTime> expires = std::nullopt;
  // Of a bearer token: the manifests that it is wanted for. Of what came of an exchange: those that
  // it is limited to.
  std::vector<std::string> images = {};

  bool operator==(const Credential&) const = default;
};

// Implementations: DockerConfig, CredentialProviders (kubelet's plugins), ShownCredentials (what
// the mirror's clients sent), CredentialChain (several, the best first). Any thread may call
// find(), which may block for a bounded time (a helper program runs) and is asked again for every
// new token, so that a changed secret is seen.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;

  // `host` as in a reference ("docker.io", "registry.example:5000"). Nothing when the source does
  // not know one; an error when it should but could not (the request then goes on without, and a
  // refusal names this error too).
  virtual Result<std::optional<Credential>> find(std::string_view host,
                                                 std::string_view repository) = 0;

  // The registry or its token server did not take what find() gave. True when asking again is
  // worth a try: there may be another one, or a newer one.
  virtual bool refused(std::string_view host, std::string_view repository,
                       const Credential& credential) {
    (void)host, (void)repository, (void)credential;
    return false;
  }

  // What find() gave could be exchanged for one that lasts longer; `better` is for that repository.
  virtual void exchanged(std::string_view host, std::string_view repository,
                         const Credential& credential, Credential better) {
    (void)host, (void)repository, (void)credential, (void)better;
  }
};

// One user everywhere it is asked for; for a --user/--password of the command line and for tests.
class FixedCredential final : public CredentialSource {
 public:
  FixedCredential(std::string host, Credential credential)
      : host_(std::move(host)), credential_(std::move(credential)) {}

  Result<std::optional<Credential>> find(std::string_view host, std::string_view) override {
    if (host != host_) return std::nullopt;
    return credential_;
  }

 private:
  const std::string host_;  // a secret is never shown to another host
  const Credential credential_;
};

}  // namespace runnel::remote
