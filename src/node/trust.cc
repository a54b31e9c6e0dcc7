#include "node/trust.h"

#include "base/quote.h"
#include "remote/hosts.h"

namespace runnel::node {

bool Trust::has_registry(const std::string& host) const {
  return hosts.contains(host) || (loopback && remote::is_loopback(host));
}

Result<void> Trust::check(const std::string& host, const artifact::Artifact& artifact,
                          const oci::Digest& config) const {
  if (has_registry(host)) return {};
  for (const auto& key : keys) {
    if (key.id() == artifact.key_id) return artifact::verify(artifact, config, key);
  }
  if (artifact.key_id.empty())
    return fail(Code::kDenied, "{} is not in streaming_registries, and the artifact is not signed",
                host);
  return fail(Code::kDenied,
              "{} is not in streaming_registries, and key {}, which signed the artifact, is not in "
              "trusted_keys",
              host, quote(artifact.key_id));
}

Result<artifact::Key> parse_trusted_key(const std::string& id, const std::string& text) {
  const bool armoured = text.find("-----BEGIN") != std::string::npos;
  const auto pem =
      armoured ? text : "-----BEGIN PUBLIC KEY-----\n" + text + "\n-----END PUBLIC KEY-----\n";
  RUNNEL_TRY(auto key, artifact::Key::parse_public(pem));
  if (key.id() != id) return fail(Code::kInvalid, "has another ID: {}", key.id());
  return key;
}

}  // namespace runnel::node
