// The node's credential sources, in the order in which they are asked.
#pragma once

#include <memory>

#include "base/clock.h"
#include "node/logins.h"
#include "node/node.h"
#include "remote/credential_chain.h"
#include "remote/shown_credentials.h"

namespace runnel::node {

struct Credentials {
  // Kubelet's providers, docker's files, `runnel login`: there again after a restart.
  std::shared_ptr<remote::CredentialSource> renewable;
  // What the mirror's clients sent.
  std::shared_ptr<remote::ShownCredentials> shown;
  // Both, the renewable ones first.
  std::shared_ptr<remote::CredentialSource> all;
};

// In the holder, before it starts a worker: makes a file in memory that all of them inherit, and a
// newer version of this program too, so that what clients showed outlives them and never touches a
// disk.
Result<void> prepare_memory();

// `clock` must outlive what it returns.
Credentials make_credentials(const CredentialPlaces& places, const Logins& logins,
                             const Clock& clock);

}  // namespace runnel::node
