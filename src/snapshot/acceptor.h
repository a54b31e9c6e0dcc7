// Accepts connections on a socket that outlives this process and hands them to a gRPC server, which
// can only listen on sockets of its own.
#pragma once

#include <thread>

#include "base/fd.h"

namespace grpc {
class Server;
}

namespace runnel::snapshot {

class Acceptor {
 public:
  // `listener` is non-blocking; `server` must outlive this.
  Acceptor(UniqueFd listener, grpc::Server& server);
  // Whoever has not been accepted waits for the next acceptor.
  ~Acceptor();

 private:
  void run();

  const UniqueFd listener_;
  const UniqueFd stop_;
  grpc::Server& server_;
  std::thread thread_;  // last: it uses the above
};

}  // namespace runnel::snapshot
