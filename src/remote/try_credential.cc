#include "remote/try_credential.h"

#include "base/base64.h"
#include "remote/challenge.h"
#include "remote/error_body.h"
#include "remote/token.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxAnswer = 64 << 10;
constexpr auto kTimeout = std::chrono::seconds(30);

Result<net::BufferedResponse> ping(net::Client& client, const Endpoint& endpoint,
                                   const std::string& authorization) {
  net::ClientRequest request(endpoint.url + "/v2/");
  request.tls = endpoint.tls;
  request.origin_headers = endpoint.headers;
  request.total_timeout = kTimeout;
  if (!authorization.empty()) request.headers.set("Authorization", authorization);
  return client.fetch(std::move(request), kMaxAnswer);
}

Result<void> judge(const Endpoint& endpoint, const net::BufferedResponse& answer) {
  const int status = answer.head.status;
  if (status >= 200 && status < 300) return {};
  return fail(code_of_status(status), "{}: GET /v2/ answered {}", endpoint.host,
              status_text(status));
}

}  // namespace

Result<void> try_credential(net::Client& client, const Endpoint& endpoint,
                            const Credential& credential) {
  if (endpoint.refused) return std::unexpected(*endpoint.refused);
  RUNNEL_TRY(const auto answer, ping(client, endpoint, ""));
  if (answer.head.status != 401) return judge(endpoint, answer);
  bool basic = false;
  for (const auto line : answer.head.headers.all("WWW-Authenticate")) {
    const auto challenges = parse_challenges(line);
    if (!challenges) continue;
    for (const auto& challenge : *challenges) {
      basic = basic || challenge.scheme == "basic";
      if (challenge.scheme != "bearer" || challenge.parameter("realm").empty()) continue;
      const TokenRequest request{.realm = std::string(challenge.parameter("realm")),
                                 .service = std::string(challenge.parameter("service")),
                                 .scope = {},
                                 .credential = credential};
      RUNNEL_TRY(const auto token, fetch_token(client, endpoint, request, kTimeout));
      return {};
    }
  }
  if (!basic)
    return fail(Code::kDenied, "{} answered 401 without a Bearer or Basic challenge",
                endpoint.host);
  const auto pair = credential.user + ":" + credential.secret.reveal();
  RUNNEL_TRY(const auto second, ping(client, endpoint, "Basic " + to_base64(pair)));
  return judge(endpoint, second);
}

}  // namespace runnel::remote
