#include "remote/docker_config.h"

#include <boost/json.hpp>
#include <cstdlib>

#include "base/fd.h"
#include "remote/credential_helper.h"
#include "remote/docker_auths.h"

namespace runnel::remote {

namespace {

constexpr uint64_t kMaxFileBytes = 4 << 20;
}  // namespace

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
  const auto config = parse_docker_config(*file);
  if (!config) return std::unexpected(config.error().in(path_));

  if (const std::string helper = helper_for_host(*config, host); !helper.empty()) {
    auto answer = ask_credential_helper(helper, server_of(host), limits_);
    if (!answer) return std::unexpected(answer.error().in(path_));
    if (*answer) return answer;
  }
  auto credential = login_in(*config, host, repository);
  if (!credential) return std::unexpected(credential.error().in(path_));
  return credential;
}

}  // namespace runnel::remote
