// The socket that a server listens on.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::net {

// "" is every address, "unix:/path" a Unix socket (a stale one is replaced), "fd:7" a listening
// socket that this process was started with (it stays open). kConflict when somebody else listens
// there.
Result<UniqueFd> open_listener(const std::string& address, uint16_t port);

// 0 for a Unix socket.
uint16_t local_port(int socket);

struct Accepted {
  UniqueFd socket;  // non-blocking, without Nagle's delay; none when `error` is set
  std::string peer;
  int error = 0;  // EAGAIN: nobody waits
};
Accepted accept_one(int listener);

}  // namespace runnel::net
