// Which Authorization header goes with a request.
//
// The first request to a host goes without one. When the host answers 401, its challenge says how
// to get one, and from then on requests for other scopes of that host ask for their token before
// they are sent. A token is kept until it expires and renewed before that, by one thread for all.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/client.h"
#include "remote/credentials.h"
#include "remote/hosts.h"
#include "remote/token.h"

namespace runnel::remote {

// Any thread may call any method.
class Authorizer {
 public:
  // `client`, `hosts` and `clock` must outlive this.
  Authorizer(net::Client& client, const Hosts& hosts, std::shared_ptr<CredentialSource> credentials,
             const Clock& clock, Duration token_timeout = std::chrono::seconds(15));

  struct Known {
    Secret header;            // what to send; empty for nothing
    bool needs_work = false;  // authorize() would ask the token server now
  };
  // What is known, without a wait.
  Known known(std::string_view host, const Scope& scope);

  // What to send with a request for `scope`; empty when the host has not asked for anything yet.
  // May block while a token is fetched. When one that still holds cannot be renewed, it is used.
  Result<Secret> authorize(std::string_view host, const Scope& scope);

  // What to send after the host answered 401 with `challenges` (its WWW-Authenticate lines) to a
  // request that had sent `sent`. kDenied when there is nothing better to send: the message says
  // why (no credentials, refused, helper failed).
  Result<Secret> answer(std::string_view host, const Scope& scope,
                        const std::vector<std::string_view>& challenges, const Secret& sent);

 private:
  struct Way {  // how a host wants to be asked
    enum class Kind { kOpen, kBasic, kBearer };
    Kind kind = Kind::kOpen;
    std::string realm;
    std::string service;
    bool operator==(const Way&) const = default;
  };
  struct Held {  // a header for one host and scope; empty: there is none to be had
    Secret header;
    std::optional<Credential> credential;  // that it was got with
    SteadyTime renew_at{};
    SteadyTime expires{};
  };
  struct Flight;                                    // one thread fetches, the others wait
  using Key = std::pair<std::string, std::string>;  // host, scope

  static Result<Way> way_of(std::string_view host, const std::vector<std::string_view>& challenges);
  Known known_locked(const Key& key);
  Result<Secret> obtain(std::unique_lock<std::mutex>& lock, const Key& key, const Scope& scope);
  static std::string repository_of(const Scope& scope);
  Result<Held> fetch(const std::string& host, const Scope& scope, const Way& way);
  Result<Held> fetch_with(const std::string& host, const Scope& scope, const Way& way,
                          std::optional<Credential> credential);
  Result<Held> fetch_bearer(const std::string& host, const Scope& scope, const Way& way,
                            std::optional<Credential> credential);
  bool can_exchange(const std::string& host, const Way& way) const;
  std::optional<Credential> exchange(const std::string& host, const Scope& scope, const Way& way,
                                     const Credential& bearer);
  void go_without_locked(const Key& key);
  void drop_expired();

  net::Client& client_;
  const Hosts& hosts_;
  const std::shared_ptr<CredentialSource> credentials_;
  const Clock& clock_;
  const Duration token_timeout_;

  std::mutex mutex_;
  std::condition_variable landed_;
  std::map<std::string, Way, std::less<>> ways_;
  std::map<Key, Held> held_;
  std::map<Key, std::shared_ptr<Flight>> flights_;
};

}  // namespace runnel::remote
