// The gate of a registry with authentication: who asks, what the registry's configuration and its
// tokens let them do, and the challenge for those who did not say who they are.
//
// Rights are looked up at every request, so what is taken away is gone at once, also for signed
// tokens that were given out before.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "access/htpasswd.h"
#include "access/token.h"
#include "base/clock.h"
#include "base/worker_pool.h"
#include "meta/metadata_store.h"
#include "net/server.h"
#include "registry/caller.h"
#include "registry/config.h"
#include "registry/login_limits.h"
#include "registry/reply.h"

namespace runnel::registry {

// A name with a password, from Basic authentication or a form.
struct Credentials {
  std::string user;
  std::string password;
  std::string peer;  // where it came from: the address without the port
};

// net::Request::peer without its port.
std::string address_of(std::string_view peer);

// "https://registry.example": how the client reaches the registry. Behind a proxy only the
// configuration knows; otherwise the client used the name.
std::string base_url(const Config& config, const net::Request& request);

// Any thread may call any method.
class Gate {
 public:
  // kInvalid or kUnavailable when the password file or the signing key cannot be used. The
  // references must outlive the gate.
  static Result<std::unique_ptr<Gate>> open(const Config& config, meta::MetadataStore& metadata,
                                            const Clock& clock);

  // Who sends the request: a Bearer token of ours, Basic credentials, or nobody in particular. A
  // refusal (401) when what is sent is wrong.
  net::awaitable<std::expected<Caller, Refusal>> identify(const net::Request& request);
  // The same for credentials: a person's password; a token's password; a refresh token as the
  // password of any name. A person's that is not known yet may get 429 or 503 without a look
  // (login_limits.h), and nothing else waits for a look at one.
  net::awaitable<std::expected<Caller, Refusal>> identify(Credentials credentials);
  // And for a token, which must be of this use.
  net::awaitable<std::expected<Caller, Refusal>> identify(std::string token,
                                                          access::Claims::Use use);

  // A token for the caller, limited to what of `wanted` it may do now. `granted` is that.
  struct Signed {
    std::string token;
    std::vector<access::Scope> granted;
    WallTime issued;
    WallTime expires;
  };
  Signed access_token(const Caller& caller, const std::vector<access::Scope>& wanted) const;
  // As access::Claims have them.
  struct Limits {
    std::optional<std::vector<access::Scope>> scopes;
    std::vector<std::string> images;
  };
  // A token to get access tokens with, not limited any further than that.
  Signed refresh_token(const Caller& caller, Limits limits, Duration lifetime) const;

  // Whether somebody of this name can log in with a password of their own.
  bool is_person(const std::string& name) const { return people_->has(name); }

  // The value of WWW-Authenticate: where to get a token for `scope` (empty for any). `error` is
  // empty when the request had no token.
  std::string challenge(const net::Request& request, std::string_view scope,
                        std::string_view error) const;
  // 401 with that challenge.
  Refusal unauthorized(const net::Request& request, std::string_view scope, std::string_view error,
                       std::string message) const;

 private:
  Gate(const Config& config, std::unique_ptr<access::Htpasswd> people, access::TokenSigner signer,
       meta::MetadataStore& metadata, const Clock& clock)
      : config_(config),
        people_(std::move(people)),
        signer_(std::move(signer)),
        metadata_(metadata),
        clock_(clock),
        logins_(config.limits.failed_logins_per_minute, config.failed_logins_per_address(), clock) {
  }

  // What needs no bcrypt: refresh tokens, and tokens' passwords. Empty for what is neither.
  std::expected<std::optional<Caller>, Refusal> check_secret(const Credentials& credentials);
  // A person's.
  std::expected<Caller, Refusal> check_password(const Credentials& credentials);
  std::expected<Caller, Refusal> check_token(const std::string& token, access::Claims::Use use);
  std::expected<Caller, Refusal> caller_of(access::Principal principal,
                                           std::optional<std::vector<access::Scope>> limit);
  struct Rights {
    access::Grants grants;
    std::string notice;
  };
  Result<std::optional<Rights>> rights_of(const access::Principal& principal);
  Result<std::optional<Rights>> rights_of_token(const std::string& name);

  const Config& config_;
  const std::unique_ptr<access::Htpasswd> people_;
  const access::TokenSigner signer_;
  meta::MetadataStore& metadata_;
  const Clock& clock_;
  LoginLimits logins_;
  // bcrypt takes a tenth of a second, so people's passwords never keep other requests from a
  // thread. Last: their tasks use all of the above.
  WorkerPool passwords_{2};
  WorkerPool lookups_{2};
};

// Who calls: anyone without authentication, when `gate` is null. The request has the name from then
// on, for the logs.
net::awaitable<std::expected<Caller, Refusal>> identify(Gate* gate, net::Request& request);

}  // namespace runnel::registry
