// Whether an address is one of a private network, and not of the Internet.
#pragma once

#include <sys/socket.h>

namespace runnel::cli {

// RFC 1918, 6598 (carriers' and clouds' own), 3927 and this machine for IPv4, RFC 4193, 4291 (link
// local) and this machine for IPv6; false for another family. `address` is as long as its family's
// is.
bool is_private(const sockaddr& address);

}  // namespace runnel::cli
