// How a client speaks TLS to one peer, where that differs from the system's way.
#pragma once

#include <string>

namespace runnel::net {

// Immutable once it is in a request.
struct TlsSettings {
  std::string authorities;       // PEM, besides the system's; "" for none
  std::string certificate_file;  // PEM: who we are; "" for nobody
  std::string key_file;          // PEM; "": in certificate_file
  bool check_peer = true;        // false: whoever answers is believed

  bool operator==(const TlsSettings&) const = default;
};

}  // namespace runnel::net
