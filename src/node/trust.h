// Whose artifacts this node may use.
//
// It is decided for the node and not for an image or a pull, because containerd shares snapshots by
// chain ID across registries: whoever could bring an artifact for one image could change what every
// image on the same base contains. So a registry's word that the artifact belongs to the image is
// not enough, and there is no trust on first use.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/signature.h"
#include "base/error.h"

namespace runnel::node {

struct Trust {
  // Whose artifacts need no signature: streaming_registries. Its word "loopback" is no host's name:
  // what answers to that name need not be this machine.
  bool loopback = true;         // every loopback host
  std::set<std::string> hosts;  // as in references
  std::vector<artifact::Key> keys;

  bool has_registry(const std::string& host) const;
  // kDenied, and why, unless the artifact may be used when `host` brings it; `config` is the digest
  // of the image's configuration.
  Result<void> check(const std::string& host, const artifact::Artifact& artifact,
                     const oci::Digest& config) const;
};

// A public key as `openssl pkey -pubout` writes it, with or without the lines around the base64.
// kInvalid when its ID is not `id`.
Result<artifact::Key> parse_trusted_key(const std::string& id, const std::string& text);

}  // namespace runnel::node
