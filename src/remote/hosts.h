// How each registry is reached: scheme and address, certificates, headers.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/headers.h"
#include "net/tls.h"

namespace runnel::remote {

struct HostSettings {
  // Unset: plain HTTP for loopback hosts, HTTPS for every other.
  std::optional<bool> plain_http = {};
  // "https://registry.example:5000", where it is, when that is not at its own name; goes over
  // plain_http.
  std::string origin = {};
  std::shared_ptr<const net::TlsSettings> tls = {};  // null: the client's own way
  net::Headers headers = {};                         // go with every request to it
};

// Where requests for one host go.
struct Endpoint {
  std::string host;  // as in a reference: the key of credentials and the name in errors
  std::string url;   // "https://registry-1.docker.io", without a final '/'
  bool plain_http = false;
  // For requests to `url` itself, and for where it sends us: without our own certificate.
  std::shared_ptr<const net::TlsSettings> tls;
  std::shared_ptr<const net::TlsSettings> tls_elsewhere;
  net::Headers headers;  // for requests to `url` itself
  // Why nothing may be sent there: the host's hosts.toml cannot be followed, and where the registry
  // would be without that file is not where its owner sends people. `url` is empty then, which no
  // request takes.
  std::optional<Error> refused;
};

class HostsDirectory;

// Any thread may call any const method; set() only before others do.
class Hosts {
 public:
  Hosts() = default;
  // What to do with hosts that have no entry of their own (`--plain-http`).
  explicit Hosts(HostSettings otherwise) : otherwise_(std::move(otherwise)) {}

  void set(std::string host, HostSettings settings);
  // Hosts that were not set() are looked up there; see remote/hosts_file.h. Files are read again
  // when they are a few seconds old, so that a change is seen. One that cannot be followed is
  // logged once.
  void set_directory(std::string directory);

  Endpoint endpoint(std::string_view host) const;
  // Somebody has said that this host is to be used: set(), or a file of its own (not the default
  // for all) whose hosts include one of `mirrors` ("http://127.0.0.1:8578").
  bool is_configured(std::string_view host, const std::vector<std::string>& mirrors) const;

 private:
  HostSettings otherwise_;
  std::map<std::string, HostSettings, std::less<>> hosts_;
  std::shared_ptr<HostsDirectory> directory_;
};

// "localhost", names below it, 127.0.0.0/8 and ::1, with or without a port.
bool is_loopback(std::string_view host);

// An address literal that means something only inside one machine or site (loopback, private,
// link-local, unspecified), or "localhost": where a remote party must not send us.
bool is_local_address(std::string_view host);

// "example.com:5000" -> "example.com"; "[::1]:5000" -> "::1".
std::string_view without_port(std::string_view host);

}  // namespace runnel::remote
