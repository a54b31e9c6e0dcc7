#include "mirror/token_desk.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/base64.h"
#include "base/log.h"
#include "mirror/answers.h"
#include "mirror/reach.h"
#include "net/fetch_async.h"
#include "oci/reference.h"
#include "remote/challenge.h"
#include "remote/token.h"

namespace runnel::mirror {

namespace {

using net::Response;
using remote::Credential;
using remote::Secret;

constexpr size_t kMaxForm = 64 << 10;
constexpr size_t kMaxScopes = 16;
constexpr size_t kManyRealms = 1024;
constexpr size_t kManyTokens = 1024;
constexpr size_t kMaxPing = 64 << 10;
constexpr auto kTimeout = std::chrono::seconds(15);

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

const remote::Challenge* find_bearer(const std::vector<remote::Challenge>& challenges) {
  const auto found = std::ranges::find(challenges, "bearer", &remote::Challenge::scheme);
  return found == challenges.end() ? nullptr : &*found;
}

std::optional<std::string_view> after_scheme(std::string_view header, std::string_view scheme) {
  const size_t space = header.find(' ');
  if (space == header.npos || !net::same_name(header.substr(0, space), scheme)) return std::nullopt;
  return header.substr(space + 1);
}

Result<Credential> basic_credential(std::string_view encoded) {
  RUNNEL_TRY(const auto pair, from_base64(encoded));
  const size_t colon = pair.find(':');
  if (colon == pair.npos) return fail(Code::kInvalid, "Basic credentials without a colon");
  return Credential{.user = pair.substr(0, colon),
                    .secret = Secret(pair.substr(colon + 1)),
                    .kind = Credential::Kind::kPassword};
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t space = std::min(text.find(' '), text.size());
    if (space > 0) out.emplace_back(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return out;
}

net::awaitable<Result<std::string>> read_form(net::RequestBody& body) {
  std::string all;
  Buffer piece(8 * 1024);
  for (;;) {
    RUNNEL_CO_TRY(const size_t size, co_await body.read(piece));
    if (size == 0) co_return all;
    if (all.size() + size > kMaxForm) co_return fail(Code::kExhausted, "the form is too large");
    all += as_text(Bytes(piece).first(size));
  }
}

}  // namespace

std::optional<TokenDesk::Realm> TokenDesk::learn_realm(const remote::Endpoint& endpoint,
                                                       std::string_view line) {
  const auto challenges = remote::parse_challenges(line);
  const auto* bearer = challenges ? find_bearer(*challenges) : nullptr;
  if (bearer == nullptr || !check_reach(endpoint, bearer->parameter("realm"))) return std::nullopt;
  Realm realm{.url = std::string(bearer->parameter("realm")),
              .service = std::string(bearer->parameter("service"))};
  remember(endpoint.host, realm);
  return realm;
}

std::string TokenDesk::challenge(const std::string& host, std::string_view line,
                                 const std::string& authority) {
  if (!learn_realm(hosts_.endpoint(host), line)) return std::string(line);
  auto out = fmt::format("Bearer realm=\"http://{}{}?ns={}\"", authority, kPath,
                         net::percent_encode(host));
  const auto challenges = remote::parse_challenges(line).value();
  for (const auto& [name, value] : find_bearer(challenges)->parameters)
    if (name != "realm") out += fmt::format(",{}={}", name, quoted(value));
  return out;
}

Result<TokenDesk::Asked> TokenDesk::read_get(const net::Request& request) {
  Asked asked;
  asked.service = request.query.first("service").value_or("");
  for (const auto scope : request.query.all("scope"))
    std::ranges::move(words(scope), std::back_inserter(asked.scopes));
  const auto header = request.headers.first("Authorization");
  if (!header) return asked;
  const auto encoded = after_scheme(*header, "Basic");
  if (!encoded) return fail(Code::kInvalid, "the token server takes Basic credentials");
  RUNNEL_TRY(asked.credential, basic_credential(*encoded));
  return asked;
}

// OAuth 2 as registries do it (distribution: docs/spec/auth/oauth.md).
net::awaitable<Result<TokenDesk::Asked>> TokenDesk::read_post(net::RequestBody& body) {
  RUNNEL_CO_TRY(const auto text, co_await read_form(body));
  RUNNEL_CO_TRY(const auto form, net::Query::parse(text));
  Asked asked;
  asked.service = form.first("service").value_or("");
  asked.scopes = words(form.first("scope").value_or(""));
  const auto grant = form.first("grant_type").value_or("");
  Credential credential;
  if (grant == "password") {
    credential.user = form.first("username").value_or("");
    credential.secret = Secret(std::string(form.first("password").value_or("")));
  } else if (grant == "refresh_token") {
    credential.kind = Credential::Kind::kIdentityToken;
    credential.secret = Secret(std::string(form.first("refresh_token").value_or("")));
  } else {
    co_return fail(Code::kInvalid, "grant_type is neither password nor refresh_token");
  }
  if (credential.secret.empty()) co_return fail(Code::kInvalid, "the form has no secret");
  asked.credential = std::move(credential);
  co_return asked;
}

// Known from the 401 that brought the client here, unless this process is younger than that.
net::awaitable<Result<TokenDesk::Realm>> TokenDesk::realm_of(const remote::Endpoint& endpoint) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = realms_.find(endpoint.host);
    if (known != realms_.end()) co_return known->second;
  }
  net::ClientRequest ping(endpoint.url + "/v2/");
  ping.tls = endpoint.tls_elsewhere;
  ping.max_redirects = 0;  // a 401 of somebody else names no token server of the registry's
  ping.total_timeout = kTimeout;
  const net::TransferScope::Words words;
  RUNNEL_CO_TRY(const auto answer,
                co_await net::fetch_async(client_, std::move(ping), kMaxPing, words));
  for (const auto line : answer.head.headers.all("WWW-Authenticate"))
    if (auto realm = learn_realm(endpoint, line)) co_return *std::move(realm);
  co_return fail(Code::kNotFound, "{} names no token server that we may ask", endpoint.host);
}

// The JSON that the client gets.
net::awaitable<Result<std::string>> TokenDesk::exchange(const std::string& host,
                                                        const Asked& asked) {
  auto endpoint = hosts_.endpoint(host);
  if (endpoint.refused) co_return std::unexpected(*endpoint.refused);
  endpoint.tls = endpoint.tls_elsewhere;  // our own certificate is not the client's
  RUNNEL_CO_TRY(const auto realm, co_await realm_of(endpoint));
  const std::vector<std::string_view> scopes(asked.scopes.begin(), asked.scopes.end());
  remote::TokenRequest request{.realm = realm.url,
                               .service = asked.service.empty() ? realm.service : asked.service,
                               .scope = remote::Scope::of(scopes),
                               .credential = asked.credential};
  RUNNEL_CO_TRY(const auto token, co_await remote::fetch_token_async(client_, endpoint,
                                                                     std::move(request), kTimeout));
  remember(token.value.reveal(), Issued{.host = host, .credential = asked.credential});
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(token.lifetime).count();
  const boost::json::object answer{{"token", token.value.reveal()},
                                   {"access_token", token.value.reveal()},
                                   {"expires_in", std::max<int64_t>(seconds, 1)}};
  co_return boost::json::serialize(answer);
}

net::awaitable<Response> TokenDesk::handle(const net::Request& request, net::RequestBody& body,
                                           const std::string& host) {
  Result<Asked> asked = fail(Code::kUnsupported, "the token server knows GET and POST");
  if (request.method == "GET") asked = read_get(request);
  if (request.method == "POST") asked = co_await read_post(body);
  if (!asked) co_return error_response(400, "UNSUPPORTED", asked.error().message);
  if (asked->scopes.size() > kMaxScopes)
    co_return error_response(400, "UNSUPPORTED", "too many scopes");

  const auto place = waiting_.take(host);
  if (!place)
    co_return error_response(503, "UNAVAILABLE",
                             host + ": too many wait for token servers; ask the registry itself");
  const auto token = co_await exchange(host, *asked);
  net::Headers headers{{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}};
  if (token) co_return Response(200, std::move(headers), *token);
  log::info("mirror: {}: no token for a client: {}", host, token.error().message);
  const auto message = fmt::format("{}: {}", host, token.error().message);
  switch (token.error().code) {
    case Code::kDenied: co_return error_response(401, "UNAUTHORIZED", message);
    case Code::kNotFound: co_return error_response(404, "UNSUPPORTED", message);
    default: co_return error_response(503, "UNAVAILABLE", message);
  }
}

void TokenDesk::accepted(const std::string& host, const std::string& repository,
                         std::string_view authorization) {
  if (const auto encoded = after_scheme(authorization, "Basic")) {
    if (auto credential = basic_credential(*encoded))
      shown_.show(host, repository, *std::move(credential));
    return;
  }
  const auto token = after_scheme(authorization, "Bearer");
  if (!token) return;
  {
    const std::lock_guard lock(mutex_);
    const auto issued = issued_.find(std::string(*token));
    if (issued != issued_.end() && issued->second.host == host) {
      // Without a credential the token was anyone's, and the node can get one itself.
      if (issued->second.credential) shown_.show(host, repository, *issued->second.credential);
      return;
    }
  }
  shown_.show(host, repository,
              Credential{.user = {},
                         .secret = Secret(std::string(*token)),
                         .kind = Credential::Kind::kBearer,
                         .expires = remote::expiry_of_token(*token)});
}

void TokenDesk::remember(const std::string& host, Realm realm) {
  const std::lock_guard lock(mutex_);
  if (realms_.size() >= kManyRealms) realms_.clear();
  realms_.insert_or_assign(host, std::move(realm));
}

void TokenDesk::remember(std::string token, Issued issued) {
  const std::lock_guard lock(mutex_);
  if (!issued_.contains(token)) issued_order_.push_back(token);
  issued_.insert_or_assign(std::move(token), std::move(issued));
  if (issued_order_.size() <= kManyTokens) return;
  issued_.erase(issued_order_.front());
  issued_order_.pop_front();
}

}  // namespace runnel::mirror
