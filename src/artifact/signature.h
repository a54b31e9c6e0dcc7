// Who made an artifact: an Ed25519 signature (RFC 8032) over all that decides what a node would
// mount, and what a registry would take over from it.
//
//   runnel-signature 2           version of these lines
//   format NAME VERSION          as in the manifest's annotations
//   subject DIGEST               the image manifest
//   config DIGEST                the image's configuration
//   boot DIGEST SIZE
//   head DIGEST SIZE             of the boot blob, which verifies by this one alone
//   layer DIGEST SIZE TABLE SOURCE DIFF-ID
//                                for each layer blob, the lowest first: its chunk table's digest,
//                                and the image's layer that it was made from
//   generation NUMBER
//
// each line ended by a newline. The boot blob's digest would not do: it is read in parts, and
// mounted before all of it has come, so what is used is compared with the head's digest and the
// tables'. Version 1 had neither, and a registry could put another head under a signature; it is
// not accepted.
//
// The key ID is the first 16 hex digits of the SHA-256 of the 32-byte public key. Keys are PEM
// files as `openssl genpkey -algorithm ed25519` writes them.
#pragma once

#include <memory>
#include <string>

#include "artifact/artifact.h"
#include "base/error.h"

struct evp_pkey_st;

namespace runnel::artifact {

// A private or a public Ed25519 key. Immutable; may be shared between threads.
class Key {
 public:
  // kInvalid unless the PEM text holds an Ed25519 key.
  static Result<Key> parse_private(const std::string& pem);
  static Result<Key> parse_public(const std::string& pem);
  // A new private key.
  static Key generate();

  const std::string& id() const { return id_; }
  // PEM as `openssl genpkey` and `openssl pkey -pubout` print it; the first one of a private key
  // only.
  std::string private_pem() const;
  std::string public_pem() const;
  evp_pkey_st* get() const { return key_.get(); }

 private:
  explicit Key(evp_pkey_st* key);

  std::shared_ptr<evp_pkey_st> key_;
  std::string id_;
};

// Sets key_id and signature.
Result<void> sign(Artifact& artifact, const oci::Digest& image_config, const Key& private_key);

// kDenied unless `key` made the signature.
Result<void> verify(const Artifact& artifact, const oci::Digest& image_config, const Key& key);

}  // namespace runnel::artifact
