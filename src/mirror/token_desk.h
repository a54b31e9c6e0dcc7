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
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/worker_pool.h"
#include "net/client.h"
#include "net/server.h"
#include "remote/hosts.h"
#include "remote/shown_credentials.h"

namespace runnel::mirror {

// Any thread may call any method. The references must outlive it.
class TokenDesk {
 public:
  static constexpr const char* kPath = "/v2/_runnel/token";

  TokenDesk(net::Client& client, const remote::Hosts& hosts, remote::ShownCredentials& shown)
      : client_(client), hosts_(hosts), shown_(shown) {}

  // One WWW-Authenticate line of a registry's 401 as the client shall see it: with our realm at
  // `authority`, where the client reached us. Lines without a Bearer challenge stay as they are.
  std::string challenge(const std::string& host, std::string_view line,
                        const std::string& authority);

  // A request for kPath. `host` is its ns.
  net::awaitable<net::Response> handle(const net::Request& request, net::RequestBody& body,
                                       const std::string& host);

  // The registry took a client's request that had this Authorization header.
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
  Result<Realm> realm_of(const std::string& host);
  Result<std::string> exchange(const std::string& host, const Asked& asked);
  void remember(const std::string& host, Realm realm);
  void remember(std::string token, Issued issued);

  net::Client& client_;
  const remote::Hosts& hosts_;
  remote::ShownCredentials& shown_;

  std::mutex mutex_;
  std::map<std::string, Realm> realms_;   // by host
  std::map<std::string, Issued> issued_;  // by token
  std::deque<std::string> issued_order_;

  WorkerPool pool_{4};  // asks registries' token servers; last: its tasks use all of the above
};

}  // namespace runnel::mirror
