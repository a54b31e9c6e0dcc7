// containerd.services.snapshots.v1 on a unix socket, in front of a Snapshotter.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "snapshot/call_counts.h"
#include "snapshot/snapshotter.h"

namespace runnel::snapshot {

// Serves from construction until stop() or destruction. gRPC's own threads run the calls, one each,
// so that a slow one holds up nobody; beyond 256 at a time a client is told "resource exhausted".
class Service {
 public:
  // The socket never exists with another mode than 0600: it is made in a private directory and then
  // renamed. A socket that nobody listens on is replaced; a live one, and a file that is no socket,
  // is kConflict. The snapshotter must outlive the service.
  static Result<std::unique_ptr<Service>> listen(const std::string& socket,
                                                 Snapshotter& snapshotter);
  // Accepts on a socket that somebody else opened, and keeps when this service goes: who connects
  // between two services waits for the next one. Its file stays. Clients are greeted at once
  // (containerd gives a handshake one second), their calls wait for attach().
  static Result<std::unique_ptr<Service>> serve(UniqueFd listener);
  ~Service();

  // Once: from now on calls are answered. The snapshotter must outlive stop().
  void attach(Snapshotter& snapshotter);

  // Before attach(). It must outlive stop().
  void observe(CallObserver& observer);

  // Once: tells the snapshotter to begin its stop. Gives calls in progress a few seconds to end,
  // cancels their clients' waiting after that, and returns when the last has returned; those that
  // wait for attach() get UNAVAILABLE. Removes the socket unless somebody else has replaced it.
  void stop();

  // The calls since the start.
  const CallCounts& counts() const;

 private:
  class Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel::snapshot
