// Tells registries what the starts of their images read first, so that they can put it into the
// boot blob that the next node gets: POST /runnel/v1/REPOSITORY/_profiles/DIGEST
// (docs/registry.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "artifact/profile.h"
#include "base/clock.h"
#include "base/error.h"
#include "node/start_watch.h"
#include "oci/reference.h"
#include "remote/gateway.h"

namespace runnel::node {

// A name that this node keeps, ROOT/node-id: 32 hex digits that say nothing about the machine. Made
// when it is absent.
Result<std::string> node_id(const std::string& root);

// Sends a node's profile of that image, which has a digest, to its registry. One attempt.
Result<void> tell_registry(const std::shared_ptr<remote::Gateway>& gateway,
                           const std::shared_ptr<remote::CredentialSource>& credentials,
                           const oci::Reference& image, const artifact::Profile& profile,
                           const std::string& node);

// Looks once a second, in a thread of its own, which may wait for the network.
class StartReporter {
 public:
  using Starts = std::function<std::vector<StartWatch::Start>()>;
  // Tells the registry of that image. kUnavailable is tried again, everything else is left.
  using Report = std::function<Result<void>(const oci::Digest& image)>;

  StartReporter(Starts starts, Report report, const Clock& clock);
  // Waits for a report under way.
  ~StartReporter();

 private:
  void run(const std::stop_token& stop);

  const Starts starts_;
  const Report report_;
  const Clock& clock_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::node
