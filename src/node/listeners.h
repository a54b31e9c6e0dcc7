// The node's listening sockets. The holder opens them and hands them to each worker in turn, so
// that who calls while a worker restarts waits in the kernel's queue instead of being refused.
//
// Descriptors are kept under names that have the address in them: after a reload with another
// address the old socket is closed and the new one opened.
#pragma once

#include "base/error.h"
#include "base/fd.h"
#include "engine/handover.h"
#include "net/url.h"
#include "node/node.h"

namespace runnel::node {

// Where --mirror says; the port is 0 for a free one. kDenied when that is not loopback.
Result<net::HostPort> mirror_address(const std::string& listen);

struct Listeners {
  UniqueFd mirror;
  UniqueFd control;
  UniqueFd snapshotter;
};

// In the holder: opens what `handover` does not have, and closes what the configuration no longer
// names. Sockets of the file system have mode 0600. kConflict when somebody else listens there.
Result<void> open_listeners(const Config& config, engine::Handover& handover);
// In the holder, at its end: removes the sockets from the file system.
void remove_sockets(const Config& config);
// In the worker. kNotFound when one is missing.
Result<Listeners> take_listeners(const Config& config, engine::Handover& handover);

}  // namespace runnel::node
