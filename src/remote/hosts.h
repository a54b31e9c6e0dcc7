// How each registry is reached: scheme and address. (Which authorities are trusted is the
// net::Client's.)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace runnel::remote {

struct HostSettings {
  // Unset: plain HTTP for loopback hosts, HTTPS for every other.
  std::optional<bool> plain_http;
};

// Where requests for one host go.
struct Endpoint {
  std::string host;  // as in a reference: the key of credentials and the name in errors
  std::string url;   // "https://registry-1.docker.io", without a final '/'
  bool plain_http = false;
};

// A table made at start and only read afterwards, from any thread.
class Hosts {
 public:
  Hosts() = default;
  // What to do with hosts that have no entry of their own (`--plain-http`).
  explicit Hosts(HostSettings otherwise) : otherwise_(std::move(otherwise)) {}

  void set(std::string host, HostSettings settings);

  Endpoint endpoint(std::string_view host) const;

 private:
  HostSettings otherwise_;
  std::map<std::string, HostSettings, std::less<>> hosts_;
};

// "localhost", names below it, 127.0.0.0/8 and ::1, with or without a port.
bool is_loopback(std::string_view host);

// An address literal that means something only inside one machine or site (loopback, private,
// link-local, unspecified), or "localhost": where a remote party must not send us.
bool is_local_address(std::string_view host);

// "example.com:5000" -> "example.com"; "[::1]:5000" -> "::1".
std::string_view without_port(std::string_view host);

}  // namespace runnel::remote
