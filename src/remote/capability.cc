#include "remote/capability.h"

#include <boost/json.hpp>

#include "net/url.h"
#include "remote/error_body.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxAnswerBytes = 256 << 10;
constexpr size_t kMaxToken = 64 << 10;
constexpr double kLongestLifetime = 24 * 3600;
constexpr std::string_view kTokenPath = "/oauth2/token";
constexpr std::string_view kExchangePath = "/oauth2/exchange";

}  // namespace

std::optional<std::string> exchange_address(const Endpoint& registry, std::string_view realm) {
  if (!realm.ends_with(kTokenPath) || !is_same_origin(realm, registry.url)) return std::nullopt;
  std::string address(realm.substr(0, realm.size() - kTokenPath.size()));
  // At the root: a path before it is somebody else's token server.
  if (address.find('/', address.find("://") + 3) != std::string::npos) return std::nullopt;
  return address.append(kExchangePath);
}

Result<Credential> parse_capability(Bytes body, WallTime now) {
  boost::system::error_code broken;
  const auto document = boost::json::parse(as_text(body), broken);
  const auto* object = broken ? nullptr : document.if_object();
  const auto* token = object == nullptr ? nullptr : object->if_contains("refresh_token");
  const auto* life = object == nullptr ? nullptr : object->if_contains("expires_in");
  if (token == nullptr || !token->is_string() || token->get_string().empty() ||
      token->get_string().size() > kMaxToken || life == nullptr || !life->is_number()) {
    return fail(Code::kInvalid, "its answer has no refresh_token that expires");
  }
  const auto seconds = life->to_number<double>();
  if (!(seconds >= 1)) return fail(Code::kInvalid, "what it gave has expired");
  const std::chrono::seconds lifetime(static_cast<int64_t>(std::min(seconds, kLongestLifetime)));
  return Credential{.user = {},
                    .secret = Secret(std::string(token->get_string())),
                    .kind = Credential::Kind::kIdentityToken,
                    .expires = now + lifetime};
}

Result<Credential> exchange_token(net::Client& client, const Endpoint& registry,
                                  const std::string& address, const Credential& bearer,
                                  const Clock& clock, Duration timeout) {
  net::Query form;
  form.add("grant_type", "access_token");
  form.add("access_token", bearer.secret.reveal());
  for (const auto& image : bearer.images) form.add("image", image);
  net::ClientRequest request("POST", address);
  request.headers.set("Content-Type", "application/x-www-form-urlencoded");
  request.headers.set("Accept", "application/json");
  request.body = form.text();
  request.tls = registry.tls;
  request.max_redirects = 0;  // nobody else may see the token
  request.total_timeout = timeout;
  RUNNEL_TRY(const auto response, client.fetch(std::move(request), kMaxAnswerBytes));
  const int status = response.head.status;
  if (status == 200) {
    RUNNEL_TRY(auto capability, parse_capability(response.body, clock.wall()));
    capability.images = bearer.images;
    return capability;
  }
  const bool unknown = status == 404 || status == 405 || status == 400;
  return fail(unknown ? Code::kUnsupported : code_of_status(status), "{} answered {} {}", address,
              status_text(status),
              error_text(response.body, response.head.headers.first("Content-Type").value_or("")));
}

}  // namespace runnel::remote
