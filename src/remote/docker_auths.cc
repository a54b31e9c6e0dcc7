#include "remote/docker_auths.h"

#include <algorithm>
#include <boost/json.hpp>
#include <vector>

#include "base/base64.h"
#include "net/ascii.h"

namespace runnel::remote {

namespace {

constexpr std::string_view kDockerHub = "docker.io";
constexpr std::string_view kDockerHubKey = "https://index.docker.io/v1/";

using boost::json::object;
using boost::json::value;

bool is_docker_hub(std::string_view host) {
  return host == kDockerHub || host == "index.docker.io" || host == "registry-1.docker.io";
}

// The key as host[/repository path].
std::string normal_key(std::string_view key) {
  const size_t scheme = key.find("://");
  if (scheme != std::string_view::npos) {
    key.remove_prefix(scheme + 3);
    key = key.substr(0, key.find('/'));  // with a scheme, the path is an API's and not a repository
  }
  while (key.ends_with('/')) key.remove_suffix(1);
  const size_t slash = std::min(key.find('/'), key.size());
  std::string host = net::lower(key.substr(0, slash));
  std::string_view path = key.substr(slash);
  if (path == "/v1" || path == "/v2") path = {};
  if (is_docker_hub(host)) host = kDockerHub;
  return host + std::string(path);
}

const object* object_in(const object& from, std::string_view key) {
  const value* found = from.if_contains(key);
  return found == nullptr ? nullptr : found->if_object();
}

std::string text_in(const object& from, std::string_view key) {
  const value* found = from.if_contains(key);
  const auto* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

// Host and repository, then shorter and shorter, down to the host alone.
const object* entry_for(const object& auths, const std::string& host, std::string_view repository) {
  std::string wanted = host;
  if (!repository.empty()) wanted += "/" + std::string(repository);
  while (true) {
    for (const auto& [key, entry] : auths)
      if (entry.is_object() && normal_key(key) == wanted) return &entry.as_object();
    if (wanted.size() <= host.size()) return nullptr;
    wanted.resize(wanted.rfind('/'));
  }
}

Result<std::optional<Credential>> credential_of(const object& entry) {
  Credential credential;
  credential.user = text_in(entry, "username");
  credential.secret = Secret(text_in(entry, "password"));
  if (const std::string both = text_in(entry, "auth"); !both.empty()) {
    const auto decoded = from_base64(both);
    const size_t colon = decoded ? decoded->find(':') : std::string::npos;
    if (colon == std::string::npos)
      return fail(Code::kInvalid, "\"auth\" is not base64 of \"user:password\"");
    credential.user = decoded->substr(0, colon);
    std::string password = decoded->substr(colon + 1);
    while (password.ends_with('\0')) password.pop_back();  // old docker versions pad with them
    credential.secret = Secret(std::move(password));
  }
  if (std::string token = text_in(entry, "identitytoken"); !token.empty()) {
    credential.secret = Secret(std::move(token));
    credential.kind = Credential::Kind::kIdentityToken;
  } else if (std::string bearer = text_in(entry, "registrytoken"); !bearer.empty()) {
    credential.secret = Secret(std::move(bearer));
    credential.kind = Credential::Kind::kBearer;
  }
  if (credential.secret.empty()) return std::nullopt;
  return credential;
}

object entry_of(const Credential& credential) {
  const auto& secret = credential.secret.reveal();
  switch (credential.kind) {
    case Credential::Kind::kIdentityToken: return {{"identitytoken", secret}};
    case Credential::Kind::kBearer: return {{"registrytoken", secret}};
    case Credential::Kind::kPassword: break;
  }
  return {{"auth", to_base64(credential.user + ":" + secret)}};
}

}  // namespace

Result<object> parse_docker_config(Bytes file) {
  boost::system::error_code broken;
  value parsed = boost::json::parse(as_text(file), broken);
  // The parser's message would be fine, its excerpt could be a password.
  if (broken || !parsed.is_object()) return fail(Code::kInvalid, "not a JSON object");
  return std::move(parsed.get_object());
}

std::string helper_for_host(const object& config, std::string_view host) {
  const auto wanted = normal_key(host);
  if (const object* helpers = object_in(config, "credHelpers"))
    for (const auto& [key, name] : *helpers)
      if (normal_key(key) == wanted && name.is_string()) return std::string(name.as_string());
  return text_in(config, "credsStore");
}

std::string server_of(std::string_view host) {
  return std::string(normal_key(host) == kDockerHub ? kDockerHubKey : host);
}

Result<std::optional<Credential>> login_in(const object& config, std::string_view host,
                                           std::string_view repository) {
  const auto name = normal_key(host);
  const object* auths = object_in(config, "auths");
  const object* entry = auths == nullptr ? nullptr : entry_for(*auths, name, repository);
  if (entry == nullptr) return std::nullopt;
  auto credential = credential_of(*entry);
  if (!credential) return std::unexpected(credential.error().in(name));
  return credential;
}

void set_login(object& config, std::string_view host, const Credential& credential) {
  erase_login(config, host);
  auto& auths = config["auths"];
  if (!auths.is_object()) auths.emplace_object();
  auths.get_object()[server_of(host)] = entry_of(credential);
}

bool erase_login(object& config, std::string_view host) {
  auto* auths = config.if_contains("auths");
  if (auths == nullptr || !auths->is_object()) return false;
  std::vector<std::string> keys;
  for (const auto& [key, entry] : auths->get_object())
    if (normal_key(key) == normal_key(host)) keys.emplace_back(key);
  for (const auto& key : keys) auths->get_object().stable_erase(key);
  return !keys.empty();
}

}  // namespace runnel::remote
