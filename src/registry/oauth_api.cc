#include "registry/oauth_api.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/base64.h"
#include "base/quote.h"
#include "net/url.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "registry/request_body.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using access::Claims;
using access::Scope;

namespace {

constexpr std::string_view kToken = "/oauth2/token";
constexpr std::string_view kExchange = "/oauth2/exchange";
constexpr size_t kMaxForm = 64 * 1024;
constexpr auto kCapabilityLifetime = std::chrono::hours(24);

std::unexpected<Refusal> bad_request(std::string message) {
  return refuse(400, "UNSUPPORTED", std::move(message));
}

// All "scope" parameters, each of which may hold several. What no repository can be called is left
// out, as what else is not there: some names could not even be said in the answer.
std::expected<std::vector<Scope>, Refusal> wanted_scopes(const net::Query& query) {
  std::string all;
  for (const auto text : query.all("scope")) all.append(text).append(" ");
  RUNNEL_TRY(auto scopes, access::parse_scopes(all));
  std::erase_if(scopes, [](const Scope& scope) {
    return scope.kind == Scope::Kind::kRepository && !oci::is_valid_repository(scope.repository);
  });
  return scopes;
}

std::string scope_text(const std::vector<Scope>& scopes) {
  std::string text;
  for (const auto& scope : scopes) text += (text.empty() ? "" : " ") + to_string(scope);
  return text;
}

net::Response no_store(std::string body) {
  auto response = json_response(200, "application/json", std::move(body));
  response.headers.add("Cache-Control", "no-store");
  return response;
}

net::Response token_response(const Gate& gate, const Config& config, const Caller& caller,
                             const std::vector<Scope>& wanted, bool offline) {
  const auto made = gate.access_token(caller, wanted);
  json::object answer;
  answer["token"] = made.token;
  answer["access_token"] = made.token;
  answer["expires_in"] =
      std::chrono::duration_cast<std::chrono::seconds>(made.expires - made.issued).count();
  answer["issued_at"] = to_utc_text(made.issued);
  answer["scope"] = scope_text(made.granted);
  // Who came with a token that ends soon has not logged in.
  if (offline && !caller.is_anonymous() && !caller.expires())
    answer["refresh_token"] =
        gate.refresh_token(caller, {caller.limit(), caller.images()}, config.auth.refresh_lifetime)
            .token;
  return no_store(json::serialize(answer));
}

net::awaitable<std::expected<net::Query, Refusal>> read_form(net::RequestBody& body) {
  const auto bytes = co_await read_whole(body, kMaxForm);
  if (!bytes) co_return bad_request("the form is not complete: " + bytes.error().message);
  auto form = net::Query::parse(as_text(*bytes));
  if (!form) co_return bad_request("not a form: " + form.error().message);
  co_return *std::move(form);
}

// A JSON Web Token begins with the base64 of {", and has three parts.
bool is_token(std::string_view password) {
  return password.starts_with("eyJ") && std::ranges::count(password, '.') == 2;
}

// Whether the request shows a password, and not what was signed for one: that ends in its time, and
// is not renewed.
bool shows_password(const net::Request& request) {
  const auto value = request.headers.first("Authorization").value_or("");
  constexpr std::string_view kBasic = "basic ";
  if (value.size() <= kBasic.size() || !net::same_name(value.substr(0, kBasic.size()), kBasic))
    return false;
  const auto text = from_base64(value.substr(kBasic.size()));
  const auto colon = text ? text->find(':') : std::string::npos;
  return colon != std::string::npos && !is_token(std::string_view(*text).substr(colon + 1));
}

bool shows_password(const net::Query& form) {
  return form.first("grant_type") == "password" && !is_token(form.first("password").value_or(""));
}

net::awaitable<Answer> get_token(Gate& gate, const Config& config, const net::Request& request) {
  const auto wanted = wanted_scopes(request.query);
  if (!wanted) co_return std::unexpected(wanted.error());
  const auto caller = co_await gate.identify(request);
  if (!caller) co_return std::unexpected(caller.error());
  const bool offline =
      request.query.first("offline_token").value_or("") == "true" && shows_password(request);
  co_return token_response(gate, config, *caller, *wanted, offline);
}

net::awaitable<std::expected<Caller, Refusal>> identify_by_form(Gate& gate, const net::Query& form,
                                                                std::string_view peer) {
  const auto text = [&](std::string_view name) {
    return std::string(form.first(name).value_or(""));
  };
  const auto grant = text("grant_type");
  if (grant == "refresh_token")
    co_return co_await gate.identify(text("refresh_token"), Claims::Use::kRefresh);
  if (grant == "password") {
    Credentials credentials{text("username"), text("password"), address_of(peer)};
    co_return co_await gate.identify(std::move(credentials));
  }
  co_return bad_request(
      fmt::format("grant_type {} is not known here: password, refresh_token", quote(grant)));
}

net::awaitable<Answer> post_token(Gate& gate, const Config& config, const net::Request& request,
                                  net::RequestBody& body) {
  const auto form = co_await read_form(body);
  if (!form) co_return std::unexpected(form.error());
  const auto wanted = wanted_scopes(*form);
  if (!wanted) co_return std::unexpected(wanted.error());
  const auto caller = co_await identify_by_form(gate, *form, request.peer);
  if (!caller) co_return std::unexpected(caller.error());
  const bool offline =
      form->first("access_type").value_or("") == "offline" && shows_password(*form);
  co_return token_response(gate, config, *caller, *wanted, offline);
}

// Only to read, and only what the token was for.
std::vector<Scope> capability_of(const Caller& caller) {
  std::vector<Scope> limit;
  for (const auto& scope : caller.limit().value_or(std::vector<Scope>())) {
    const auto actions = scope.actions & access::Actions{Action::kContentRead};
    if (scope.kind == Scope::Kind::kRepository && !actions.empty())
      limit.emplace_back(scope.repository, actions);
  }
  return limit;
}

// The images that the right is to be for, each once.
std::expected<std::vector<std::string>, Refusal> wanted_images(const net::Query& form) {
  const auto texts = form.all("image");
  if (texts.empty() || texts.size() > access::kMaxImages)
    return bad_request(fmt::format("image=DIGEST, 1 to {} times: what the right to read is for",
                                   access::kMaxImages));
  std::vector<std::string> images;
  for (const auto text : texts) {
    const auto digest = oci::Digest::parse(text);
    if (!digest) return bad_request("image: " + digest.error().message);
    if (std::ranges::find(images, digest->to_string()) == images.end())
      images.push_back(digest->to_string());
  }
  return images;
}

net::awaitable<Answer> post_exchange(Gate& gate, net::RequestBody& body) {
  const auto form = co_await read_form(body);
  if (!form) co_return std::unexpected(form.error());
  if (form->first("grant_type").value_or("") != "access_token")
    co_return bad_request("only grant_type=access_token can be exchanged");
  auto images = wanted_images(*form);
  if (!images) co_return std::unexpected(images.error());
  std::string token(form->first("access_token").value_or(""));
  const auto caller = co_await gate.identify(std::move(token), Claims::Use::kAccess);
  if (!caller) co_return std::unexpected(caller.error());
  // A day is a day: what came of an exchange is not exchanged for another.
  if (!caller->images().empty()) co_return bad_request("this token is limited to images already");
  const auto made = gate.refresh_token(*caller, {capability_of(*caller), *std::move(images)},
                                       kCapabilityLifetime);
  json::object answer;
  answer["refresh_token"] = made.token;
  answer["expires_in"] = std::chrono::seconds(kCapabilityLifetime).count();
  co_return no_store(json::serialize(answer));
}

}  // namespace

bool is_oauth(std::string_view path) {
  return path == kToken || path == kExchange;
}

net::awaitable<Answer> handle_oauth(Gate& gate, const Config& config, const net::Request& request,
                                    net::RequestBody& body) {
  if (request.path == kToken && request.method == "GET")
    co_return co_await get_token(gate, config, request);
  if (request.method == "POST") {
    if (request.path == kToken) co_return co_await post_token(gate, config, request, body);
    co_return co_await post_exchange(gate, body);
  }
  Refusal refusal(405, "UNSUPPORTED",
                  fmt::format("{} is not possible here", quote(request.method)));
  refusal.headers.add("Allow", request.path == kToken ? "GET, POST" : "POST");
  co_return std::unexpected(std::move(refusal));
}

}  // namespace runnel::registry
