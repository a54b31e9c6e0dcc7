// containerd.services.snapshots.v1 on a unix socket, in front of a Snapshotter.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "snapshot/snapshotter.h"

namespace runnel::snapshot {

// Serves from construction until stop() or destruction. gRPC's own threads run the calls: a slow
// one holds up nobody.
class Service {
 public:
  // The socket gets mode 0600; one that nobody listens on is replaced, a live one is kConflict. The
  // snapshotter must outlive the service.
  static Result<std::unique_ptr<Service>> listen(const std::string& socket,
                                                 Snapshotter& snapshotter);
  ~Service();

  // Gives calls in progress a few seconds to end.
  void stop();

 private:
  class Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel::snapshot
