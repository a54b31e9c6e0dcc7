#include "registry/gate.h"

#include <algorithm>

#include "base/base64.h"
#include "base/durable.h"
#include "net/url.h"
#include "registry/public_name.h"
#include "registry/role_assignments.h"
#include "registry/token_store.h"
#include "registry/utc_time.h"

namespace runnel::registry {

using access::Claims;
using access::Principal;
using access::Scope;

namespace {

constexpr std::string_view kDefaultIssuer = "runnel-registry";
// Clients print it then: enough time to act, not so much that people stop reading it.
constexpr auto kNoticeBefore = std::chrono::days(7);
// The name that clients of ACR give with a token.
constexpr std::string_view kNobody = "00000000-0000-0000-0000-000000000000";
constexpr std::string_view kBasic = "Basic ";
constexpr std::string_view kBearer = "Bearer ";

bool starts_with_scheme(std::string_view value, std::string_view scheme) {
  return value.size() > scheme.size() && net::same_name(value.substr(0, scheme.size()), scheme);
}

Refusal wrong(std::string message) {
  return {401, "UNAUTHORIZED", std::move(message)};
}

Result<Credentials> basic_credentials(std::string_view encoded) {
  RUNNEL_TRY(const auto text, from_base64(encoded));
  const auto colon = text.find(':');
  if (colon == std::string::npos) return fail(Code::kInvalid, "no colon");
  return Credentials{text.substr(0, colon), text.substr(colon + 1), {}};
}

// The rule for what was signed by a program that did not say which password it came of: the token
// still has one that was there when it began. Times of what is signed are whole seconds.
bool had_password(const Token& token, WallTime began, WallTime now) {
  return std::ranges::any_of(token.passwords, [&](const TokenPassword& each) {
    const bool counts = !each.hash.empty() && (!each.expires || now < *each.expires);
    return counts && each.created < began + std::chrono::seconds(1);
  });
}

// Empty unless every password of the token soon ends.
std::string ending_soon(const Token& token, WallTime now) {
  std::optional<WallTime> last;
  for (const auto& password : token.passwords) {
    if (password.hash.empty()) continue;
    if (!password.expires) return {};
    last = std::max(last.value_or(*password.expires), *password.expires);
  }
  if (!last || *last <= now || *last > now + kNoticeBefore) return {};
  return fmt::format("the passwords of token {} end at {}: make a new one in time", token.name,
                     to_utc_text(*last));
}

}  // namespace

std::string base_url(const Config& config, const net::Request& request) {
  if (!config.external_url.empty()) return config.external_url;
  return (config.tls.enabled() ? "https://" : "http://") + public_host(config, request);
}

std::string address_of(std::string_view peer) {
  return std::string(peer.substr(0, peer.rfind(':')));
}

Result<std::unique_ptr<Gate>> Gate::open(const Config& config, meta::MetadataStore& metadata,
                                         const Clock& clock) {
  RUNNEL_TRY(auto people, access::Htpasswd::open(config.auth.htpasswd, clock));
  RUNNEL_TRY(auto key, access::load_or_make_key(config.data + "/token.key"));
  const auto issuer =
      config.external_url.empty() ? std::string(kDefaultIssuer) : config.external_url;
  return std::unique_ptr<Gate>(new Gate(
      config, std::move(people), access::TokenSigner(std::move(key), issuer), metadata, clock));
}

net::awaitable<std::expected<Caller, Refusal>> Gate::identify(const net::Request& request) {
  const auto lines = request.headers.all("Authorization");
  if (lines.empty()) co_return caller_of(Principal(), std::nullopt);
  const auto value = lines.front();
  if (lines.size() == 1 && starts_with_scheme(value, kBearer))
    co_return co_await identify(std::string(value.substr(kBearer.size())), Claims::Use::kAccess);
  if (lines.size() == 1 && starts_with_scheme(value, kBasic)) {
    auto credentials = basic_credentials(value.substr(kBasic.size()));
    if (credentials) {
      credentials->peer = address_of(request.peer);
      co_return co_await identify(*std::move(credentials));
    }
  }
  co_return std::unexpected(wrong("the Authorization header is neither Basic nor Bearer"));
}

net::awaitable<std::expected<Caller, Refusal>> Gate::identify(Credentials credentials) {
  if (people_->known(credentials.user, credentials.password)) {
    const Principal person(Principal::Kind::kUser, credentials.user);
    if (metadata_.looks_up_at_once()) co_return caller_of(person, std::nullopt);
    auto look_up = [&] { return caller_of(person, std::nullopt); };
    co_return co_await net::on_pool(lookups_, std::move(look_up));
  }
  auto look_up = [&] { return check_secret(credentials); };
  auto found = co_await net::on_pool(lookups_, std::move(look_up));
  if (!found) co_return std::unexpected(std::move(found.error()));
  if (*found) co_return **std::move(found);
  const auto may_try = logins_.check(credentials.user, credentials.peer);
  if (!may_try) co_return std::unexpected(may_try.error());
  const auto place = logins_.wait_in_line(credentials.peer);
  if (!place) co_return std::unexpected(place.error());
  auto work = [&] { return check_password(credentials); };
  co_return co_await net::on_pool(passwords_, std::move(work));
}

net::awaitable<std::expected<Caller, Refusal>> Gate::identify(std::string token, Claims::Use use) {
  auto work = [&] { return check_token(token, use); };
  co_return co_await net::on_pool(lookups_, std::move(work));
}

std::expected<std::optional<Caller>, Refusal> Gate::check_secret(const Credentials& credentials) {
  const auto& [user, password, peer] = credentials;
  // A refresh token is the password of any name: people write "<token>", or 00000000-….
  if (std::ranges::count(password, '.') == 2) {
    auto caller = check_token(password, Claims::Use::kRefresh);
    if (caller) return caller;
    // With that name some clients ask for a token to read with by the one to write with.
    if (user == kNobody) return check_token(password, Claims::Use::kAccess);
  }
  const TokenStore tokens(metadata_);
  RUNNEL_TRY(const auto token, tokens.token(user));
  if (auto mark = token && token->enabled ? mark_of(*token, password, clock_.wall()) : "";
      !mark.empty()) {
    RUNNEL_TRY(auto caller, caller_of(Principal(Principal::Kind::kToken, user), std::nullopt));
    caller.set_password_mark(std::move(mark));
    return caller;
  }
  return std::nullopt;
}

// Only people choose passwords that can be guessed; and behind a proxy, where all have one address,
// whoever guesses must not lock a token out.
std::expected<Caller, Refusal> Gate::check_password(const Credentials& credentials) {
  const auto& [user, password, peer] = credentials;
  // Of many that came at once the first one may be known by now, or may have been one too many.
  const bool known = people_->known(user, password);
  if (!known) RUNNEL_DO(logins_.check(user, peer));
  if (known || people_->verify(user, password))
    return caller_of(Principal(Principal::Kind::kUser, user), std::nullopt);
  logins_.failed(user, peer);
  return std::unexpected(wrong("the name or the password is wrong"));
}

std::expected<Caller, Refusal> Gate::check_token(const std::string& token, Claims::Use use) {
  auto claims = signer_.verify(token, clock_.wall());
  if (!claims) return std::unexpected(wrong(claims.error().message));
  if (claims->use != use)
    return std::unexpected(wrong(use == Claims::Use::kAccess
                                     ? "a refresh token is no access token: exchange it first"
                                     : "an access token is no refresh token"));
  // A right to images has its day: a container that was started in time goes on.
  if (claims->principal.kind == Principal::Kind::kToken && claims->images.empty()) {
    RUNNEL_TRY(const auto robot, TokenStore(metadata_).token(claims->principal.name));
    const auto lifetime =
        use == Claims::Use::kAccess ? config_.auth.token_lifetime : config_.auth.refresh_lifetime;
    const auto& mark = claims->password_mark;
    const auto now = clock_.wall();
    const bool goes_on =
        robot && (mark.empty() ? had_password(*robot, claims->expires - lifetime, now)
                               : has_marked(*robot, mark, now));
    if (!goes_on)
      return std::unexpected(
          wrong("the password that this token came of is no more: log in again"));
  }
  RUNNEL_TRY(auto caller, caller_of(std::move(claims->principal), std::move(claims->limit)));
  caller.limit_to_images(std::move(claims->images));
  caller.set_password_mark(std::move(claims->password_mark));
  if (use == Claims::Use::kAccess) caller.set_expires(claims->expires);
  return caller;
}

std::expected<Caller, Refusal> Gate::caller_of(Principal principal,
                                               std::optional<std::vector<Scope>> limit) {
  RUNNEL_TRY(auto rights, rights_of(principal));
  if (!rights)
    return std::unexpected(wrong(fmt::format("{} may not log in any more", to_string(principal))));
  for (const auto& pattern : config_.auth.anonymous_pull)
    rights->grants.emplace_back(pattern, access::role("AcrPull").value());
  Caller caller(std::move(principal), std::move(rights->grants), std::move(limit));
  caller.set_notice(std::move(rights->notice));
  return caller;
}

Result<std::optional<Gate::Rights>> Gate::rights_of(const Principal& principal) {
  if (principal.kind == Principal::Kind::kAnonymous) return Rights();
  if (principal.kind == Principal::Kind::kToken) return rights_of_token(principal.name);
  if (!people_->has(principal.name)) return std::nullopt;
  RUNNEL_TRY(auto grants, RoleAssignments(metadata_).grants(principal.name));
  const auto configured = config_.auth.users.find(principal.name);
  if (configured != config_.auth.users.end()) {
    grants.insert(grants.end(), configured->second.begin(), configured->second.end());
    return Rights{std::move(grants), {}};
  }
  for (const auto& name : config_.auth.default_roles)
    grants.emplace_back("*", access::role(name).value());
  return Rights{std::move(grants), {}};
}

Result<std::optional<Gate::Rights>> Gate::rights_of_token(const std::string& name) {
  const TokenStore tokens(metadata_);
  RUNNEL_TRY(const auto token, tokens.token(name));
  if (!token || !token->enabled) return std::nullopt;
  RUNNEL_TRY(const auto map, tokens.scope_map(token->scope_map));
  if (!map) return std::nullopt;
  return Rights{map->grants, ending_soon(*token, clock_.wall())};
}

Gate::Signed Gate::access_token(const Caller& caller, const std::vector<Scope>& wanted) const {
  Signed made;
  for (const auto& scope : wanted) {
    if (scope.kind == Scope::Kind::kCatalog) {
      if (!caller.is_anonymous() && caller.may_list_catalog()) made.granted.push_back(scope);
      continue;
    }
    const auto actions = scope.actions & caller.allowed_in_images(scope.repository);
    if (!actions.empty()) made.granted.emplace_back(scope.repository, actions);
  }
  made.issued = clock_.wall();
  Claims claims;
  claims.principal = caller.principal();
  // A token gets none that lives longer than itself.
  made.expires = made.issued + config_.auth.token_lifetime;
  if (const auto end = caller.expires()) made.expires = std::min(made.expires, *end);
  claims.expires = made.expires;
  claims.limit = made.granted;
  claims.images = caller.images();
  claims.password_mark = caller.password_mark();
  made.token = signer_.sign(claims, made.issued);
  return made;
}

Gate::Signed Gate::refresh_token(const Caller& caller, Limits limits, Duration lifetime) const {
  Signed made;
  made.issued = clock_.wall();
  Claims claims;
  claims.principal = caller.principal();
  claims.password_mark = caller.password_mark();
  claims.use = Claims::Use::kRefresh;
  made.expires = made.issued + lifetime;
  claims.expires = made.expires;
  claims.limit = std::move(limits.scopes);
  claims.images = std::move(limits.images);
  made.token = signer_.sign(claims, made.issued);
  return made;
}

std::string Gate::challenge(const net::Request& request, std::string_view scope,
                            std::string_view error) const {
  auto value = fmt::format("Bearer realm=\"{}/oauth2/token\",service=\"{}\"",
                           base_url(config_, request), public_host(config_, request));
  if (!scope.empty()) value += fmt::format(",scope=\"{}\"", scope);
  if (!error.empty()) value += fmt::format(",error=\"{}\"", error);
  return value;
}

Refusal Gate::unauthorized(const net::Request& request, std::string_view scope,
                           std::string_view error, std::string message) const {
  Refusal refusal(401, "UNAUTHORIZED", std::move(message));
  refusal.headers.add("WWW-Authenticate", challenge(request, scope, error));
  return refusal;
}

net::awaitable<std::expected<Caller, Refusal>> identify(Gate* gate, net::Request& request) {
  if (gate == nullptr) {
    request.principal = Caller::anyone().id();
    co_return Caller::anyone();
  }
  auto caller = co_await gate->identify(request);
  if (caller) request.principal = caller->id();
  co_return caller;
}

}  // namespace runnel::registry
