#include "remote/authorizer.h"

#include <algorithm>

#include "base/base64.h"
#include "base/log.h"
#include "remote/capability.h"
#include "remote/challenge.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

// A bare token whose image nobody has named is looked at again.
constexpr auto kUntilImageIsKnown = std::chrono::seconds(1);
// Beyond this many, expired headers are thrown out.
constexpr size_t kManyHeld = 1024;
// Tried for one token.
constexpr size_t kMostCredentials = 4;

const Challenge* find_scheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  const auto found = std::ranges::find(challenges, scheme, &Challenge::scheme);
  return found == challenges.end() ? nullptr : &*found;
}

// RFC 6750, 3.1.
bool says_insufficient_scope(const std::vector<std::string_view>& challenges) {
  return std::ranges::any_of(challenges, [](const auto line) {
    const auto parsed = parse_challenges(line);
    const Challenge* bearer = parsed ? find_scheme(*parsed, "bearer") : nullptr;
    return bearer != nullptr && bearer->parameter("error") == "insufficient_scope";
  });
}

}  // namespace

struct Authorizer::Flight {
  std::optional<Result<Secret>> outcome;
};

Authorizer::Authorizer(net::Client& client, const Hosts& hosts,
                       std::shared_ptr<CredentialSource> credentials, const Clock& clock,
                       Duration token_timeout)
    : client_(client),
      hosts_(hosts),
      credentials_(std::move(credentials)),
      clock_(clock),
      token_timeout_(token_timeout) {}

Authorizer::Known Authorizer::known_locked(const Key& key) {
  const auto way = ways_.find(key.first);
  if (way == ways_.end() || way->second.kind == Way::Kind::kOpen) return {};
  const auto held = held_.find(key);
  if (held == held_.end()) return {.header = Secret(), .needs_work = true};
  const SteadyTime now = clock_.now();
  if (now >= held->second.expires) return {.header = Secret(), .needs_work = true};
  return {.header = held->second.header, .needs_work = now >= held->second.renew_at};
}

Authorizer::Known Authorizer::known(std::string_view host, const Scope& scope) {
  const std::lock_guard lock(mutex_);
  return known_locked({std::string(host), scope.text()});
}

Result<Secret> Authorizer::authorize(std::string_view host, const Scope& scope) {
  const Key key{std::string(host), scope.text()};
  std::unique_lock lock(mutex_);
  const Known before = known_locked(key);
  if (!before.needs_work) return before.header;
  // Somebody renews it already, and the old one still holds.
  if (!before.header.empty() && flights_.contains(key)) return before.header;

  auto obtained = obtain(lock, key, scope);
  if (obtained || before.header.empty()) return obtained;
  log::debug("{}: cannot renew yet, going on with the old token: {}", host,
             obtained.error().message);
  return before.header;
}

Result<Secret> Authorizer::answer(std::string_view host, const Scope& scope,
                                  const std::vector<std::string_view>& challenges,
                                  const Secret& sent) {
  const Key key{std::string(host), scope.text()};
  RUNNEL_TRY(const Way way, way_of(host, challenges));
  std::unique_lock lock(mutex_);
  if (ways_[key.first] != way) {
    ways_[key.first] = way;
    held_.erase(key);
  }
  // Somebody else may have been here since the request was sent.
  const auto held = held_.find(key);
  if (held != held_.end() && !held->second.header.empty() && held->second.header != sent &&
      clock_.now() < held->second.expires) {
    return held->second.header;
  }
  if (held != held_.end() && !flights_.contains(key)) {
    const auto used = held->second.credential;
    // A token that is refused too early may only be one that the registry has forgotten. But what
    // was sent as it is, or gave a token that may do too little, is not the right credential.
    const bool exchanged =
        way.kind == Way::Kind::kBearer && used && used->kind != Credential::Kind::kBearer;
    const bool wrong = !exchanged || says_insufficient_scope(challenges);
    held_.erase(held);
    if (wrong && used) credentials_->refused(host, repository_of(scope), *used);
  }

  RUNNEL_TRY(Secret header, obtain(lock, key, scope));
  if (header == sent)
    return fail(Code::kDenied, "{} refused the credentials that are known for it", host);
  return header;
}

Result<Authorizer::Way> Authorizer::way_of(std::string_view host,
                                           const std::vector<std::string_view>& challenges) {
  std::vector<Challenge> all;
  for (const std::string_view line : challenges) {
    auto parsed = parse_challenges(line);
    if (!parsed) {
      log::debug("{}: {}", host, parsed.error().message);
      continue;  // another line may do
    }
    std::ranges::move(*parsed, std::back_inserter(all));
  }
  Way way;
  if (const Challenge* bearer = find_scheme(all, "bearer");
      bearer != nullptr && !bearer->parameter("realm").empty()) {
    way.kind = Way::Kind::kBearer;
    way.realm = bearer->parameter("realm");
    way.service = bearer->parameter("service");
    return way;
  }
  if (find_scheme(all, "basic") != nullptr) {
    way.kind = Way::Kind::kBasic;
    return way;
  }
  return fail(Code::kDenied,
              "{} answered 401 without a Bearer or Basic challenge, so there is no way to log in",
              host);
}

// One thread fetches for a key; whoever comes meanwhile gets the same outcome.
Result<Secret> Authorizer::obtain(std::unique_lock<std::mutex>& lock, const Key& key,
                                  const Scope& scope) {
  if (const auto found = flights_.find(key); found != flights_.end()) {
    const auto flight = found->second;
    landed_.wait(lock, [&] { return flight->outcome.has_value(); });
    return *flight->outcome;
  }
  const auto flight = std::make_shared<Flight>();
  flights_.emplace(key, flight);
  const Way way = ways_[key.first];

  lock.unlock();
  auto fetched = fetch(key.first, scope, way);
  lock.lock();

  if (fetched) {
    drop_expired();
    flight->outcome = fetched->header;
    held_.insert_or_assign(key, *std::move(fetched));
  } else {
    flight->outcome = std::unexpected(fetched.error());
    if (fetched.error().code == Code::kDenied) go_without_locked(key);
  }
  flights_.erase(key);
  landed_.notify_all();
  return *flight->outcome;
}

// "repository:a/b:pull": the repository decides which credential is the right one.
std::string Authorizer::repository_of(const Scope& scope) {
  const std::string& first = scope.parts().front();
  const size_t start = first.find(':') + 1;
  return first.substr(start, first.rfind(':') - start);
}

// One credential after another, as long as the source has other ones than those that were refused.
Result<Authorizer::Held> Authorizer::fetch(const std::string& host, const Scope& scope,
                                           const Way& way) {
  const auto repository = repository_of(scope);
  std::vector<Credential> tried;
  while (true) {
    auto credential = credentials_->find(host, repository);
    auto held = fetch_with(host, scope, way, credential ? *credential : std::nullopt);
    const bool again = !held && held.error().code == Code::kDenied && credential && *credential &&
                       std::ranges::find(tried, **credential) == tried.end() &&
                       tried.size() < kMostCredentials &&
                       credentials_->refused(host, repository, **credential);
    if (again) {
      tried.push_back(*std::move(*credential));
      continue;
    }
    if (held || credential) return held;
    // The reason why there were no credentials matters more than the refusal that followed.
    return fail(held.error().code, "{} (without credentials: {})", held.error().message,
                credential.error().message);
  }
}

Result<Authorizer::Held> Authorizer::fetch_with(const std::string& host, const Scope& scope,
                                                const Way& way,
                                                std::optional<Credential> credential) {
  if (credential && credential->kind == Credential::Kind::kBearer) {
    if (auto better = exchange(host, scope, way, *credential))
      return fetch_bearer(host, scope, way, std::move(better));
    // Soon somebody may know which image it is for, and it can be exchanged.
    const auto renew_at = credential->images.empty() && can_exchange(host, way)
                              ? clock_.now() + kUntilImageIsKnown
                              : SteadyTime::max();
    SteadyTime expires = SteadyTime::max();
    if (credential->expires)
      expires =
          clock_.now() + std::chrono::duration_cast<Duration>(*credential->expires - clock_.wall());
    return Held{.header = Secret("Bearer " + credential->secret.reveal()),
                .credential = credential,
                .renew_at = std::min(renew_at, expires),
                .expires = expires};
  }
  if (way.kind == Way::Kind::kBearer) return fetch_bearer(host, scope, way, credential);
  if (!credential)
    return fail(Code::kDenied, "{} wants a user and password, and none are known", host);
  const auto pair = credential->user + ":" + credential->secret.reveal();
  return Held{.header = Secret("Basic " + to_base64(pair)),
              .credential = credential,
              .renew_at = SteadyTime::max(),
              .expires = SteadyTime::max()};
}

bool Authorizer::can_exchange(const std::string& host, const Way& way) const {
  return way.kind == Way::Kind::kBearer &&
         exchange_address(hosts_.endpoint(host), way.realm).has_value();
}

// A token alone ends soon; our own registry gives one that lasts a day for it, for known images.
std::optional<Credential> Authorizer::exchange(const std::string& host, const Scope& scope,
                                               const Way& way, const Credential& bearer) {
  if (bearer.images.empty() || !can_exchange(host, way)) return std::nullopt;
  const auto endpoint = hosts_.endpoint(host);
  const auto address = exchange_address(endpoint, way.realm);
  auto better = exchange_token(client_, endpoint, *address, bearer, clock_, token_timeout_);
  if (!better) {
    log::debug("{}: going on with the token as it is: {}", host, better.error().message);
    return std::nullopt;
  }
  credentials_->exchanged(host, repository_of(scope), bearer, *better);
  return *std::move(better);
}

Result<Authorizer::Held> Authorizer::fetch_bearer(const std::string& host, const Scope& scope,
                                                  const Way& way,
                                                  std::optional<Credential> credential) {
  const TokenRequest request{
      .realm = way.realm, .service = way.service, .scope = scope, .credential = credential};
  const auto endpoint = hosts_.endpoint(host);
  if (endpoint.refused) return std::unexpected(*endpoint.refused);
  RUNNEL_TRY(const Token token, fetch_token(client_, endpoint, request, token_timeout_));
  // A quarter of its life ahead, at most half a minute: time to try more than once.
  const Duration ahead = std::min<Duration>(token.lifetime / 4, std::chrono::seconds(30));
  const SteadyTime expires = clock_.now() + token.lifetime;
  return Held{.header = Secret("Bearer " + token.value.reveal()),
              .credential = std::move(credential),
              .renew_at = expires - ahead,
              .expires = expires};
}

// The next request goes without credentials and so asks the registry again: one that wanted them
// once, by mistake or for a while, must not be lost for good.
void Authorizer::go_without_locked(const Key& key) {
  const auto held = held_.find(key);
  if (held != held_.end() && clock_.now() < held->second.expires) return;
  held_.insert_or_assign(
      key, Held{.header = Secret(), .renew_at = SteadyTime::max(), .expires = SteadyTime::max()});
}

void Authorizer::drop_expired() {
  if (held_.size() < kManyHeld) return;
  const SteadyTime now = clock_.now();
  std::erase_if(held_, [&](const auto& entry) {
    return entry.second.expires <= now || entry.second.header.empty();
  });
}

}  // namespace runnel::remote
