#include "access/token.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>

#include "access/base64url.h"
#include "access/secret.h"
#include "base/durable.h"
#include "base/fd.h"
#include "base/quote.h"

namespace runnel::access {

namespace json = boost::json;

namespace {

constexpr std::string_view kHeader = R"({"alg":"HS256","typ":"JWT"})";
constexpr size_t kMaxTokenBytes = 16 * 1024;
constexpr auto kClockTolerance = std::chrono::minutes(1);
constexpr int64_t kLatest = 9'000'000'000;  // in 2255; a WallTime ends seven years later
constexpr size_t kKeyBytes = 32;

int64_t seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::unexpected<Error> not_a_token(std::string_view why) {
  return fail(Code::kDenied, "the token is not valid: {}", why);
}

Result<Principal> parse_principal(std::string_view text) {
  if (text == "anonymous") return Principal();
  if (text.starts_with("user:"))
    return Principal(Principal::Kind::kUser, std::string(text.substr(5)));
  if (text.starts_with("token:"))
    return Principal(Principal::Kind::kToken, std::string(text.substr(6)));
  return not_a_token("it names nobody");
}

json::array to_json(const std::vector<Scope>& limit) {
  json::array list;
  for (const auto& scope : limit) {
    json::object entry;
    const bool catalog = scope.kind == Scope::Kind::kCatalog;
    entry["type"] = catalog ? "registry" : "repository";
    entry["name"] = catalog ? "catalog" : scope.repository;
    entry["actions"] = catalog ? "*" : to_scope_actions(scope.actions);
    list.push_back(std::move(entry));
  }
  return list;
}

std::string_view text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

// What was signed here has this form; the checks are for a key that leaked into another program.
Result<std::vector<Scope>> limit_of(const json::value& value) {
  if (!value.is_array()) return not_a_token("its access is not a list");
  std::vector<Scope> limit;
  for (const auto& entry : value.get_array()) {
    if (!entry.is_object()) return not_a_token("its access is not a list of objects");
    const auto& object = entry.get_object();
    if (text_member(object, "type") == "registry")
      limit.push_back(Scope::catalog());
    else
      limit.emplace_back(std::string(text_member(object, "name")),
                         actions_of_scope(text_member(object, "actions")));
  }
  return limit;
}

Result<std::vector<std::string>> images_of(const json::value& value) {
  if (!value.is_array() || value.get_array().empty() || value.get_array().size() > kMaxImages)
    return not_a_token("its images are no list of 1 to 32");
  std::vector<std::string> images;
  for (const auto& entry : value.get_array()) {
    if (!entry.is_string()) return not_a_token("one of its images is no text");
    images.emplace_back(entry.get_string());
  }
  return images;
}

Result<Claims> read_claims(const json::object& object, std::string_view issuer, WallTime now) {
  if (text_member(object, "iss") != issuer || text_member(object, "aud") != issuer)
    return not_a_token("another registry made it");
  const auto time = [&](std::string_view name) -> std::optional<int64_t> {
    const auto* value = object.if_contains(name);
    return value != nullptr && value->is_int64() ? std::optional(value->get_int64()) : std::nullopt;
  };
  const auto expires = time("exp");
  const auto begins = time("nbf");
  if (!expires || *expires > kLatest || !begins || !time("iat"))
    return not_a_token("it has no times");
  if (seconds(now) >= *expires) return not_a_token("it has expired");
  if (seconds(now + kClockTolerance) < *begins) return not_a_token("it is for later");

  Claims claims;
  RUNNEL_TRY(claims.principal, parse_principal(text_member(object, "sub")));
  const auto use = text_member(object, "use");
  if (use != "access" && use != "refresh") return not_a_token("its use is unknown");
  claims.use = use == "access" ? Claims::Use::kAccess : Claims::Use::kRefresh;
  claims.expires = WallTime(std::chrono::seconds(*expires));
  if (const auto* access = object.if_contains("access")) {
    RUNNEL_TRY(claims.limit, limit_of(*access));
  }
  if (const auto* images = object.if_contains("images")) {
    RUNNEL_TRY(claims.images, images_of(*images));
  }
  claims.password_mark = text_member(object, "pwd");
  return claims;
}

}  // namespace

std::string to_string(const Principal& principal) {
  switch (principal.kind) {
    case Principal::Kind::kAnonymous: break;
    case Principal::Kind::kUser: return "user:" + principal.name;
    case Principal::Kind::kToken: return "token:" + principal.name;
  }
  return "anonymous";
}

std::string TokenSigner::mac(std::string_view text) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned size = 0;
  const auto* made =
      ::HMAC(::EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &size);
  RUNNEL_CHECK(made != nullptr);
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string TokenSigner::sign(const Claims& claims, WallTime now) const {
  json::object object;
  object["iss"] = issuer_;
  object["aud"] = issuer_;
  object["sub"] = to_string(claims.principal);
  object["use"] = claims.use == Claims::Use::kAccess ? "access" : "refresh";
  object["iat"] = seconds(now);
  object["nbf"] = seconds(now);
  object["exp"] = seconds(claims.expires);
  object["jti"] = make_secret().substr(0, 16);
  if (claims.limit) object["access"] = to_json(*claims.limit);
  if (!claims.images.empty())
    object["images"] = json::array(claims.images.begin(), claims.images.end());
  if (!claims.password_mark.empty()) object["pwd"] = claims.password_mark;
  const auto text = to_base64url(kHeader) + "." + to_base64url(json::serialize(object));
  return text + "." + to_base64url(mac(text));
}

Result<Claims> TokenSigner::verify(std::string_view token, WallTime now) const {
  if (token.size() > kMaxTokenBytes) return not_a_token("it is too long");
  const auto last = token.rfind('.');
  const auto first = token.find('.');
  if (last == std::string_view::npos || first == last) return not_a_token("it is no JWT");
  if (token.substr(0, first) != to_base64url(kHeader))
    return not_a_token("another program made it");
  const auto signature = from_base64url(token.substr(last + 1));
  if (!signature || !same_secret(*signature, mac(token.substr(0, last))))
    return not_a_token("its signature is wrong");
  const auto text = from_base64url(token.substr(first + 1, last - first - 1));
  if (!text) return not_a_token("it is no JWT");
  json::error_code failed;
  const auto value = json::parse(*text, failed);
  if (failed || !value.is_object()) return not_a_token("it is no JWT");
  return read_claims(value.get_object(), issuer_, now);
}

Result<std::string> load_or_make_key(const std::string& path) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file) {
      std::string key(kKeyBytes + 1, '\0');
      const auto size = ::read(file.get(), key.data(), key.size());
      if (size != ssize_t{kKeyBytes})
        return fail(Code::kInvalid,
                    "{} is not a key of {} bytes: restore it, or remove it (tokens "
                    "that were given out end then)",
                    path, kKeyBytes);
      key.resize(kKeyBytes);
      return key;
    }
    if (errno != ENOENT) return fail_errno("open {}", path);
    // Complete before it has its name, and only the first one gets it.
    const auto temporary = fmt::format("{}.{}", path, ::getpid());
    const auto key = from_base64url(make_secret());
    RUNNEL_DO(replace_file(temporary, as_bytes(*key), 0600));
    const bool linked = ::link(temporary.c_str(), path.c_str()) == 0;
    const int error = errno;
    ::unlink(temporary.c_str());
    if (!linked && error != EEXIST) return std::unexpected(system_error(error, "make " + path));
    RUNNEL_DO(sync_directory(path.substr(0, path.rfind('/'))));
  }
  return fail(Code::kUnavailable, "{} comes and goes", path);
}

}  // namespace runnel::access
