#include "remote/docker_config.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>

#include "base/base64.h"
#include "base/fd.h"
#include "net/ascii.h"

namespace runnel::remote {

namespace {

constexpr uint64_t kMaxFileBytes = 4 << 20;
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

// The helper that is named for this host, or the one for every host.
std::string helper_for(const object& config, const std::string& host) {
  if (const object* helpers = object_in(config, "credHelpers"))
    for (const auto& [key, name] : *helpers)
      if (normal_key(key) == host && name.is_string()) return std::string(name.as_string());
  return text_in(config, "credsStore");
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

}  // namespace

std::string helper_for_host(const object& config, std::string_view host) {
  return helper_for(config, normal_key(host));
}

DockerConfig::DockerConfig(std::string path, ProgramLimits limits)
    : path_(std::move(path)), limits_(limits) {}

std::string DockerConfig::default_path() {
  if (const char* folder = std::getenv("DOCKER_CONFIG"); folder != nullptr && *folder != '\0')
    return std::string(folder) + "/config.json";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.docker/config.json";
  return {};
}

Result<std::optional<Credential>> DockerConfig::find(std::string_view host,
                                                     std::string_view repository) {
  if (path_.empty()) return std::nullopt;
  auto file = read_file(path_, kMaxFileBytes);
  if (!file && file.error().code == Code::kNotFound) return std::nullopt;
  if (!file) return std::unexpected(file.error());
  boost::system::error_code broken;
  const value parsed = boost::json::parse(as_text(*file), broken);
  // The parser's message would be fine, its excerpt could be a password.
  if (broken || !parsed.is_object()) return fail(Code::kInvalid, "{}: not a JSON object", path_);
  const object& config = parsed.as_object();

  const std::string name = normal_key(host);
  if (const std::string helper = helper_for(config, name); !helper.empty()) {
    const std::string server(name == kDockerHub ? kDockerHubKey : host);
    auto answer = ask_credential_helper(helper, server, limits_);
    if (!answer) return std::unexpected(answer.error().in(path_));
    if (*answer) return answer;
  }
  const object* auths = object_in(config, "auths");
  const object* entry = auths == nullptr ? nullptr : entry_for(*auths, name, repository);
  if (entry == nullptr) return std::nullopt;
  auto credential = credential_of(*entry);
  if (!credential)
    return std::unexpected(credential.error().in(fmt::format("{}: {}", path_, name)));
  return credential;
}

}  // namespace runnel::remote
