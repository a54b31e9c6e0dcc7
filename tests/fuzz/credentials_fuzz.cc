// Any bytes as where passwords come from: docker's and podman's files, and what credential helpers
// and kubelet's providers write. No error holds what was read, which may be the secret; what is
// found is one of the file's; a login that is kept is the one that is found, and changes no other.
//
// Seeds: make_protocol_corpus.py.
//
// links: remote
#include <algorithm>
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "remote/credential_helper.h"
#include "remote/docker_auths.h"
#include "remote/provider_answer.h"

using runnel::as_bytes;
namespace json = boost::json;
namespace remote = runnel::remote;
using remote::Credential;

namespace {

constexpr const char* kNotJson = "not a JSON object";
constexpr const char* kDamaged = "\"auth\" is not base64 of \"user:password\"";
constexpr std::string_view kHosts[] = {"docker.io", "registry.example", "registry.example:5000"};

json::object written_and_read(const json::object& config) {
  return remote::parse_docker_config(as_bytes(json::serialize(config))).value();
}

void check_helper(const json::object& config, std::string_view host) {
  const auto helper = remote::helper_for_host(config, host);
  const auto program = remote::credential_program(helper);
  // It is started from PATH, and from nowhere else.
  if (program) RUNNEL_CHECK(program->starts_with("docker-credential-") && !program->contains('/'));
}

void check_login(const json::object& config, std::string_view host) {
  const auto found = remote::login_in(config, host, "team/app");
  if (!found)
    RUNNEL_CHECK(found.error().message == std::string(host) + ": " + kDamaged);
  else if (*found)
    RUNNEL_CHECK(!(*found)->secret.empty());
}

void check_keeping(const json::object& config, std::string_view host) {
  const Credential mine{.user = "me", .secret = remote::Secret("mine")};
  auto changed = config;
  remote::set_login(changed, host, mine);
  changed = written_and_read(changed);
  RUNNEL_CHECK(remote::login_in(changed, host, "").value() == mine);
  for (const auto other : kHosts) {
    if (other != host)
      RUNNEL_CHECK(remote::login_in(changed, other, "team/app") ==
                   remote::login_in(config, other, "team/app"));
    RUNNEL_CHECK(remote::helper_for_host(changed, other) == remote::helper_for_host(config, other));
  }
  RUNNEL_CHECK(remote::erase_login(changed, host) && !remote::erase_login(changed, host));
  RUNNEL_CHECK(remote::login_in(changed, host, "").value() == std::nullopt);
}

void docker_config(std::string_view text) {
  const auto config = remote::parse_docker_config(as_bytes(text));
  if (!config) {
    RUNNEL_CHECK(config.error().message == kNotJson);
    return;
  }
  for (const auto host : kHosts) {
    check_helper(*config, host);
    check_login(*config, host);
    check_keeping(*config, host);
  }
}

// Any user and password come back, whatever their bytes: together, as the registry gets them.
void login(std::string_view text) {
  const auto middle = text.size() / 2;
  const Credential kept{.user = std::string(text.substr(0, middle)),
                        .secret = remote::Secret(std::string(text.substr(middle)))};
  const auto& secret = kept.secret.reveal();
  if (secret.empty() || secret.ends_with('\0')) return;  // docker pads with them
  json::object config;
  remote::set_login(config, "registry.example", kept);
  const auto found = remote::login_in(written_and_read(config), "registry.example", "a").value();
  // Nothing of the password is left where the user's name has a colon in it, and that is the end.
  const auto both = kept.user + ":" + secret;
  if (!found) return RUNNEL_CHECK(both.find(':') + 1 == both.size());
  RUNNEL_CHECK(found->user + ":" + found->secret.reveal() == both);
}

void helper_answer(std::string_view text) {
  const auto answer = remote::parse_helper_answer(text);
  if (!answer) {
    RUNNEL_CHECK(answer.error().message == "its answer is not a JSON object");
    return;
  }
  if (!*answer) return;
  const auto& credential = **answer;
  RUNNEL_CHECK(!credential.secret.empty() && credential.user != "<token>");
  RUNNEL_CHECK(credential.kind != Credential::Kind::kBearer);
  if (credential.kind == Credential::Kind::kIdentityToken) RUNNEL_CHECK(credential.user.empty());
}

void provider_answer(std::string_view text) {
  const remote::CredentialProvider provider{.name = "provider",
                                            .match_images = {},
                                            .cache_duration = std::chrono::hours(1),
                                            .api_version = "credentialprovider.kubelet.k8s.io/v1",
                                            .arguments = {},
                                            .environment = {}};
  const auto answer = remote::parse_provider_answer(text, provider);
  if (!answer) {
    RUNNEL_CHECK(answer.error().message.size() < 3000);
    return;
  }
  RUNNEL_CHECK(answer->life >= runnel::Duration::zero());
  RUNNEL_CHECK(answer->life <= std::chrono::hours(24) * 365 * 10);
  const std::string image = "registry.example:5000/team/app";
  const auto found = answer->find(image);
  bool there = false;
  size_t longest = 0;
  for (const auto& [pattern, credential] : answer->auth) {
    RUNNEL_CHECK(!credential.secret.empty());
    if (!remote::matches_image(pattern, image)) continue;
    longest = std::max(longest, pattern.size());
    RUNNEL_CHECK(found.has_value());
  }
  for (const auto& [pattern, credential] : answer->auth)
    there |= pattern.size() == longest && credential == found;
  RUNNEL_CHECK(there == found.has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = runnel::as_text(std::as_bytes(std::span(data, size)));
  docker_config(text);
  login(text);
  helper_answer(text);
  provider_answer(text);
  return 0;
}
