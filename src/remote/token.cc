#include "remote/token.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/base64.h"
#include "net/fetch_async.h"
#include "net/transfer_report.h"
#include "net/url.h"
#include "remote/error_body.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxAnswerBytes = 256 << 10;
constexpr auto kDefaultLifetime = std::chrono::seconds(60);  // by the specification
constexpr auto kLongestLifetime = std::chrono::hours(24);

bool has_identity_token(const TokenRequest& request) {
  return request.credential && request.credential->kind == Credential::Kind::kIdentityToken;
}

net::ClientRequest get_request(const TokenRequest& request) {
  std::string url = request.realm;
  if (!request.service.empty()) url = with_query(std::move(url), "service", request.service);
  for (const std::string& part : request.scope.parts())
    url = with_query(std::move(url), "scope", part);
  if (request.credential && !request.credential->user.empty())
    url = with_query(std::move(url), "account", request.credential->user);

  net::ClientRequest out(std::move(url));
  if (request.credential) {
    const auto& credential = *request.credential;
    out.headers.set("Authorization",
                    "Basic " + to_base64(credential.user + ":" + credential.secret.reveal()));
  }
  return out;
}

net::ClientRequest post_request(const TokenRequest& request) {
  std::string scope;
  for (const std::string& part : request.scope.parts()) scope += (scope.empty() ? "" : " ") + part;
  net::Query form;
  form.add("grant_type", "refresh_token");
  form.add("client_id", "runnel");
  if (!request.service.empty()) form.add("service", request.service);
  form.add("scope", scope);
  form.add("refresh_token", request.credential->secret.reveal());

  net::ClientRequest out("POST", request.realm);
  out.headers.set("Content-Type", "application/x-www-form-urlencoded");
  out.body = form.text();
  return out;
}

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

Duration lifetime_of(const boost::json::object& answer) {
  const auto* value = answer.if_contains("expires_in");
  double seconds = 0;
  if (value != nullptr && value->is_number()) seconds = value->to_number<double>();
  if (!(seconds >= 1)) return kDefaultLifetime;
  return std::min<Duration>(kLongestLifetime,
                            std::chrono::seconds(static_cast<int64_t>(std::min(seconds, 1e6))));
}

// It goes into a header line.
bool is_sendable(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<Token> interpret(const net::BufferedResponse& response, const TokenRequest& request) {
  const int status = response.head.status;
  if (status == 200) return parse_token(response.body);
  const std::string text =
      error_text(response.body, response.head.headers.first("Content-Type").value_or(""));
  std::string who = "anonymous";
  if (has_identity_token(request)) {
    who = "the identity token";
  } else if (request.credential) {
    who = fmt::format("user \"{}\"", request.credential->user);
  }
  return fail(code_of_status(status), "it answered {} for {}, scope {}{}{}", status_text(status),
              who, request.scope.text(), text.empty() ? "" : ": ", text);
}

// Of a scope's first part; empty when that is about something else.
std::string_view repository_of(const Scope& scope) {
  constexpr std::string_view kType = "repository:";
  const std::string_view first = scope.parts().empty() ? std::string_view() : scope.parts().front();
  const auto end = first.rfind(':');
  if (!first.starts_with(kType) || end < kType.size()) return {};
  return first.substr(kType.size(), end - kType.size());
}

// What to send, one after the other for as long as goes_on() says so.
std::vector<net::ClientRequest> attempts(const Endpoint& registry, const TokenRequest& request,
                                         Duration timeout) {
  std::vector<net::ClientRequest> all;
  if (has_identity_token(request)) all.push_back(post_request(request));
  // Servers without OAuth 2 take the token as a password.
  all.push_back(get_request(request));
  const bool own = is_same_origin(request.realm, registry.url);
  for (auto& one : all) {
    one.tls = own ? registry.tls : registry.tls_elsewhere;
    one.max_redirects = 0;  // nobody but the named realm may see the credential
    one.total_timeout = timeout;
    one.headers.set("Accept", "application/json");
  }
  return all;
}

// After a POST that the server does not know.
bool goes_on(const Result<net::BufferedResponse>& response) {
  return response && (response->head.status == 404 || response->head.status == 405);
}

net::TransferScope::Words words_of(const Endpoint& registry, const TokenRequest& request) {
  return {.about = fmt::format("{}/{}", registry.host, repository_of(request.scope)),
          .purpose = "token"};
}

std::string where(const TokenRequest& request) {
  return "token server " + net::without_secrets(request.realm.substr(0, 200));
}

Result<Token> taken(const Result<net::BufferedResponse>& response, const TokenRequest& request) {
  if (!response) return std::unexpected(response.error().in(where(request)));
  auto token = interpret(*response, request);
  if (!token) return std::unexpected(token.error().in(where(request)));
  return token;
}

}  // namespace

Result<Token> parse_token(Bytes body) {
  boost::system::error_code broken;
  const auto document = boost::json::parse(as_text(body), broken);
  if (broken || !document.is_object())
    return fail(Code::kInvalid, "its answer is not a JSON object");
  std::string text = text_of(document.as_object(), "token");
  if (text.empty()) text = text_of(document.as_object(), "access_token");
  if (!is_sendable(text)) return fail(Code::kInvalid, "its answer has no usable token");
  return Token{.value = Secret(std::move(text)), .lifetime = lifetime_of(document.as_object())};
}

Scope Scope::pull(std::string_view repository) {
  Scope scope;
  scope.parts_.push_back(fmt::format("repository:{}:pull", repository));
  return scope;
}

Scope Scope::push(std::string_view repository) {
  Scope scope;
  scope.parts_.push_back(fmt::format("repository:{}:pull,push", repository));
  return scope;
}

Scope Scope::remove(std::string_view repository) {
  Scope scope;
  scope.parts_.push_back(fmt::format("repository:{}:pull,push,delete", repository));
  return scope;
}

Scope Scope::of(const std::vector<std::string_view>& parts) {
  Scope scope;
  for (const auto part : parts)
    if (is_sendable(part)) scope.parts_.emplace_back(part);
  return scope;
}

Scope Scope::and_pull(std::string_view repository) const {
  Scope scope = *this;
  scope.parts_.push_back(fmt::format("repository:{}:pull", repository));
  return scope;
}

std::string Scope::text() const {
  std::string out;
  for (const std::string& part : parts_) out += (out.empty() ? "" : " ") + part;
  return out;
}

Result<Token> fetch_token(net::Client& client, const Endpoint& registry,
                          const TokenRequest& request, Duration timeout) {
  if (auto allowed = check_leads_on(registry, request.realm); !allowed)
    return std::unexpected(allowed.error().in(where(request)));
  const auto words = words_of(registry, request);
  const net::TransferScope scope(words.about, words.purpose);
  Result<net::BufferedResponse> response;
  for (auto& attempt : attempts(registry, request, timeout)) {
    response = client.fetch(std::move(attempt), kMaxAnswerBytes);
    if (!goes_on(response)) break;
  }
  return taken(response, request);
}

net::awaitable<Result<Token>> fetch_token_async(net::Client& client, Endpoint registry,
                                                TokenRequest request, Duration timeout) {
  if (auto allowed = check_leads_on(registry, request.realm); !allowed)
    co_return std::unexpected(allowed.error().in(where(request)));
  const auto words = words_of(registry, request);
  Result<net::BufferedResponse> response;
  for (auto& attempt : attempts(registry, request, timeout)) {
    response = co_await net::fetch_async(client, std::move(attempt), kMaxAnswerBytes, words);
    if (!goes_on(response)) break;
  }
  co_return taken(response, request);
}

}  // namespace runnel::remote
