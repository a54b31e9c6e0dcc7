// A client's request at its registry, and at where the registry redirects it. Internal to mirror/.
#pragma once

#include "net/client.h"
#include "remote/hosts.h"

namespace runnel::mirror {

struct UpstreamAnswer {
  UpstreamAnswer() = default;

  // After redirects. A 401 is the registry's own, and so is what any answer says of tokens
  // (WWW-Authenticate).
  net::OpenedResponse response;
  // The registry itself served the request, or sent it on to elsewhere: it takes the Authorization
  // header. What elsewhere makes of the request says nothing of that: it does not get the header.
  bool taken = false;
};

// Follows redirects of a GET or HEAD, each if check_reach() (mirror/reach.h) allows it. Credentials
// are dropped for good where one leads to another origin. Returns with the head of the last answer;
// its body follows as it is read. Errors: the client's; kDenied for a redirect that is refused, or
// that leads to a 401; kInvalid for one that makes no sense, or is one too many. The client must
// live until then.
net::awaitable<Result<UpstreamAnswer>> ask_upstream(net::Client& client, remote::Endpoint registry,
                                                    net::ClientRequest request);

}  // namespace runnel::mirror
