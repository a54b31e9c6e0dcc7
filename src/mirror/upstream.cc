#include "mirror/upstream.h"

#include "mirror/reach.h"
#include "net/url.h"
#include "remote/url.h"

namespace runnel::mirror {

namespace {

constexpr int kMaxRedirects = 5;

bool is_redirect(const net::ResponseHead& head) {
  const int status = head.status;
  return ((status >= 301 && status <= 303) || status == 307 || status == 308) &&
         head.headers.has("Location");
}

// Where the head of an answer sends the request on to.
Result<std::string> next_url(const remote::Endpoint& registry, const net::ResponseHead& head) {
  RUNNEL_TRY(auto url, remote::resolve_url(head.url, *head.headers.first("Location")));
  RUNNEL_DO(check_reach(registry, url));
  return url;
}

// `own`: nobody but the registry had a say in the answer.
Result<UpstreamAnswer> concluded(net::OpenedResponse response, bool own) {
  auto& head = response.head;
  if (!own && head.status == 401)
    return fail(Code::kDenied, "it redirects to {}, which wants credentials",
                net::without_secrets(head.url.substr(0, 200)));
  if (!own) head.headers.remove("WWW-Authenticate");
  UpstreamAnswer answer;
  answer.taken = !own || head.status == 200 || head.status == 206;
  answer.response = std::move(response);
  return answer;
}

}  // namespace

net::awaitable<Result<UpstreamAnswer>> ask_upstream(net::Client& client, remote::Endpoint registry,
                                                    net::ClientRequest request) {
  request.max_redirects = 0;  // each is looked at here
  bool own = true;            // nobody else was asked yet, who could have sent us back
  // A redirect's body arrives while the next answer is waited for, and leaves its connection free;
  // to let go of it before that would close the connection.
  std::unique_ptr<net::BodyStream> redirect_body;
  for (int hops = 0;; ++hops) {
    request.tls = own ? registry.tls : registry.tls_elsewhere;
    RUNNEL_CO_TRY(auto response, co_await client.open(request));
    if (!is_redirect(response.head)) co_return concluded(std::move(response), own);
    if (hops == kMaxRedirects)
      co_return fail(Code::kInvalid, "more than {} redirects", kMaxRedirects);
    RUNNEL_CO_TRY(request.url, next_url(registry, response.head));
    if (!remote::is_same_origin(request.url, registry.url)) {
      own = false;
      request.headers.remove("Authorization");
    }
    redirect_body = std::move(response.body);
  }
}

}  // namespace runnel::mirror
