// The mirror's own token server, to which its 401s send a client instead of to the registry's.
//
//   GET  /v2/_runnel/token?ns=HOST&service=…&scope=…   with Basic, or with nothing
//   POST /v2/_runnel/token?ns=HOST                     a form: grant_type=password | refresh_token
//   … 200  {"token": T, "access_token": T, "expires_in": seconds}
//
// It asks the registry's token server with what the client sent, and hands its token on. When the
// registry then takes a request with that token, the client's credential is kept
// (remote/shown_credentials.h), so that the node can read the rest of the image when the token is
// old. Nothing here is done with credentials of the node's own: no local process gets more rights
// from the mirror than it has itself. ("_runnel" is in no repository's name.)
//
// A registry whose token server is slow holds up its own clients only: waiting takes no thread, and
// of one registry's requests so many may wait that the others' find a place. One too many is
// answered 503, after which containerd goes on without the mirror.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/shares.h"
#include "net/client.h"
#include "net/server.h"
#include "remote/hosts.h"
#include "remote/shown_credentials.h"

namespace runnel::mirror {

// Any thread may call any method. The references must outlive it.
class TokenDesk {
 public:
  static constexpr const char* kPath = "/v2/_runnel/token";

  // How many requests may wait for token servers.
  struct Limits {
    size_t of_one_host = 64;
    size_t of_all = 256;
  };

  TokenDesk(net::Client& client, const remote::Hosts& hosts, remote::ShownCredentials& shown)
      : TokenDesk(client, hosts, shown, Limits()) {}
  TokenDesk(net::Client& client, const remote::Hosts& hosts, remote::ShownCredentials& shown,
            Limits limits)
      : client_(client),
        hosts_(hosts),
        shown_(shown),
        waiting_(limits.of_one_host, limits.of_all) {}

  // One WWW-Authenticate line of a registry's own 401 as the client shall see it: with our realm at
  // `authority`, where the client reached us. Lines without a Bearer challenge stay as they are,
  // and so do those whose token server is none that we go to for a client (mirror/reach.h).
  std::string challenge(const std::string& host, std::string_view line,
                        const std::string& authority);

  // A request for kPath. `host` is its ns.
  net::awaitable<net::Response> handle(const net::Request& request, net::RequestBody& body,
                                       const std::string& host);

  // The registry itself took a client's request that had this Authorization header.
  void accepted(const std::string& host, const std::string& repository,
                std::string_view authorization);

 private:
  struct Realm {
    std::string url;
    std::string service;
  };
  struct Asked {  // by a client, for a token
    std::string service;
    std::vector<std::string> scopes;
    std::optional<remote::Credential> credential;
  };
  struct Issued {
    std::string host;
    std::optional<remote::Credential> credential;
  };

  static Result<Asked> read_get(const net::Request& request);
  static net::awaitable<Result<Asked>> read_post(net::RequestBody& body);
  std::optional<Realm> learn_realm(const remote::Endpoint& endpoint, std::string_view line);
  net::awaitable<Result<Realm>> realm_of(const remote::Endpoint& endpoint);
  net::awaitable<Result<std::string>> exchange(const std::string& host, const Asked& asked);
  void remember(const std::string& host, Realm realm);
  void remember(std::string token, Issued issued);

  net::Client& client_;
  const remote::Hosts& hosts_;
  remote::ShownCredentials& shown_;

  std::mutex mutex_;
  std::map<std::string, Realm> realms_;   // by host
  std::map<std::string, Issued> issued_;  // by token
  std::deque<std::string> issued_order_;

  Shares waiting_;  // for hosts' token servers
};

}  // namespace runnel::mirror
