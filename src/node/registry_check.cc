#include "node/registry_check.h"

#include <netdb.h>

#include <array>

#include "base/quote.h"
#include "convert/find_artifact.h"
#include "net/url.h"
#include "oci/document.h"

namespace runnel::node {

namespace {

constexpr size_t kMaxAnswer = 64 << 10;
constexpr auto kTimeout = std::chrono::seconds(15);

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

Result<net::BufferedResponse> ping(remote::Gateway& gateway, const remote::Endpoint& endpoint) {
  net::ClientRequest request(endpoint.url + "/v2/");
  request.tls = endpoint.tls;
  request.origin_headers = endpoint.headers;
  request.total_timeout = kTimeout;
  return gateway.client.fetch(std::move(request), kMaxAnswer);
}

// The image's manifest for this machine, and its digest.
Result<std::pair<oci::Digest, oci::Manifest>> image_manifest(const remote::Repository& repository,
                                                             const std::string& target) {
  RUNNEL_TRY(auto read, repository.manifest(target));
  RUNNEL_TRY(auto document, oci::parse_document(read.bytes, read.media_type));
  if (const auto* index = std::get_if<oci::Index>(&document)) {
    RUNNEL_TRY(const auto child, convert::platform_manifest(*index));
    RUNNEL_TRY(read, repository.manifest(child.to_string()));
    RUNNEL_TRY(document, oci::parse_document(read.bytes, read.media_type));
  }
  const auto* manifest = std::get_if<oci::Manifest>(&document);
  if (manifest == nullptr) return fail(Code::kUnsupported, "{} is no image", target);
  return std::pair(read.digest, *manifest);
}

std::string advice(std::string_view step, const oci::Reference& reference, const Error& error) {
  const auto& host = reference.host;
  if (step == "configured" && error.code != Code::kDenied)
    return "until the node can follow that file, the mirror refuses and containerd asks by it "
           "alone";
  if (step == "configured")
    return fmt::format(
        "add this node's mirror to hosts.toml (runnel node install --registry {0}), "
        "or [registry.\"{0}\"] to node.toml",
        host);
  if (step == "resolve") return "check the host's name, and this machine's DNS";
  if (step == "connect")
    return fmt::format(
        "check the network, HTTPS_PROXY and NO_PROXY; a certificate that is not "
        "trusted wants a ca in {}'s hosts.toml, a registry without TLS "
        "server = \"http://{}\" there",
        host, host);
  if (step == "token")
    return fmt::format(
        "runnel login {} -u USER --password-stdin, or name kubelet's credential "
        "provider in node.toml",
        host);
  if (step == "pull" && error.code == Code::kNotFound)
    return "name a tag or a digest that the repository has";
  if (step == "pull") return "give the user the right to pull from this repository";
  if (step == "artifact")
    return fmt::format("runnel convert {} (or ask the registry to stream it)",
                       reference.to_string());
  return fmt::format(
      "add {} to streaming_registries in node.toml, or the key that signs its "
      "artifacts to trusted_keys",
      host);
}

}  // namespace

RegistryCheck::Step RegistryCheck::configured(const oci::Reference& reference) const {
  if (const auto refused = gateway_->hosts.endpoint(reference.host).refused)
    return std::unexpected(*refused);
  if (is_configured_(reference.host)) return "this node may use it";
  return fail(Code::kDenied,
              "nothing names {}: it is neither in hosts_dir with this node's mirror, nor in "
              "node.toml",
              reference.host);
}

RegistryCheck::Step RegistryCheck::resolve(const oci::Reference& reference) const {
  RUNNEL_TRY(const auto url, net::parse_url(gateway_->hosts.endpoint(reference.host).url));
  const addrinfo wanted{.ai_flags = 0, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(url.authority.host.c_str(), nullptr, &wanted, &found);
  if (failed != 0)
    return fail(Code::kUnavailable, "{}: {}", url.authority.host, gai_strerror(failed));
  const std::unique_ptr<addrinfo, FreeAddresses> owner(found);
  std::string addresses;
  for (const auto* one = found; one != nullptr && addresses.size() < 200; one = one->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(one->ai_addr, one->ai_addrlen, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) == 0)
      addresses += (addresses.empty() ? "" : ", ") + std::string(text.data());
  }
  return fmt::format("{} is {}", url.authority.host, addresses);
}

RegistryCheck::Step RegistryCheck::connect(const oci::Reference& reference) const {
  const auto endpoint = gateway_->hosts.endpoint(reference.host);
  RUNNEL_TRY(const auto answer, ping(*gateway_, endpoint));
  const int status = answer.head.status;
  if (status == 200 || status == 401) return fmt::format("{} answers {}", endpoint.url, status);
  return fail(Code::kUnsupported, "{}/v2/ answers {}, as no registry does", endpoint.url, status);
}

RegistryCheck::Step RegistryCheck::token(const oci::Reference& reference) const {
  const auto endpoint = gateway_->hosts.endpoint(reference.host);
  RUNNEL_TRY(const auto answer, ping(*gateway_, endpoint));
  if (answer.head.status != 401) return std::string("it asks for none");
  RUNNEL_TRY(const auto header,
             gateway_->authorizer.answer(reference.host, remote::Scope::pull(reference.repository),
                                         answer.head.headers.all("WWW-Authenticate"), {}));
  return std::string("this node has one for ") + reference.repository;
}

RegistryCheck::Step RegistryCheck::pull(const oci::Reference& reference) const {
  const remote::Repository repository(gateway_, reference.host, reference.repository);
  RUNNEL_TRY(const auto found, image_manifest(repository, reference.target()));
  return fmt::format("{} is {}", reference.target(), found.first);
}

RegistryCheck::Step RegistryCheck::artifact(const oci::Reference& reference) const {
  const remote::Repository repository(gateway_, reference.host, reference.repository);
  RUNNEL_TRY(const auto found, image_manifest(repository, reference.target()));
  RUNNEL_TRY(const auto artifacts, convert::find_artifacts(repository, found.first));
  const auto& best = artifacts.front().artifact;
  return fmt::format("generation {}, {}", best.generation,
                     best.key_id.empty() ? "not signed" : "signed by " + quote(best.key_id));
}

RegistryCheck::Step RegistryCheck::trusted(const oci::Reference& reference) const {
  const remote::Repository repository(gateway_, reference.host, reference.repository);
  RUNNEL_TRY(const auto found, image_manifest(repository, reference.target()));
  RUNNEL_TRY(const auto artifacts, convert::find_artifacts(repository, found.first));
  std::optional<Error> refused;
  for (const auto& one : artifacts) {
    auto checked = trust_.check(reference.host, one.artifact, found.second.config.digest);
    if (checked) return std::string("this node uses it");
    if (!refused) refused = checked.error();
  }
  return std::unexpected(*std::move(refused));
}

std::vector<CheckStep> RegistryCheck::run(const oci::Reference& reference) const {
  using Run = Step (RegistryCheck::*)(const oci::Reference&) const;
  static constexpr std::pair<const char*, Run> kSteps[] = {
      {"configured", &RegistryCheck::configured},
      {"resolve", &RegistryCheck::resolve},
      {"connect", &RegistryCheck::connect},
      {"token", &RegistryCheck::token},
      {"pull", &RegistryCheck::pull},
      {"artifact", &RegistryCheck::artifact},
      {"trust", &RegistryCheck::trusted}};
  std::vector<CheckStep> steps;
  for (const auto& [name, step] : kSteps) {
    const auto outcome = (this->*step)(reference);
    if (outcome) {
      steps.push_back({.name = name, .ok = true, .detail = *outcome, .next = {}});
      continue;
    }
    steps.push_back({.name = name,
                     .ok = false,
                     .detail = outcome.error().message,
                     .next = advice(name, reference, outcome.error())});
    break;
  }
  return steps;
}

}  // namespace runnel::node
