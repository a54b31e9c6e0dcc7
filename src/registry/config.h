// What the registry is told: registry.toml.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/log.h"

namespace runnel::registry {

struct Config {
  std::string data = "/var/lib/runnel/registry";  // a directory of the registry's own
  std::string address = "127.0.0.1";              // an IP address
  uint16_t port = 5000;                           // 0: any free one
  // Threads for disk and database, so many for reads and so many for writes; 0: eight.
  unsigned threads = 0;
  // An upload without a request for so long is thrown away.
  std::chrono::seconds upload_lifetime = std::chrono::hours(24);
  // A blob that no manifest needs is thrown away when it has not been pushed, mounted or asked for
  // so long.
  std::chrono::seconds unreferenced_lifetime = std::chrono::hours(24);
  // Take image manifests whose layers the repository does not have.
  bool sparse_manifests = false;
  bool deletion = true;
  log::Options log;
};

// Reads TOML:
//
//   version = 1                          # required
//   data = "/var/lib/runnel/registry"
//   listen = "127.0.0.1:5000"
//   threads = 4
//   upload_lifetime_s = 86400
//   unreferenced_lifetime_s = 86400
//   sparse_manifests = false
//   deletion = true
//   log_level = "info"
//   log_format = "auto"
//
// kInvalid, with the line, for a key that is unknown or has a value that makes no sense.
Result<Config> load_config(const std::string& path);
// The same from a text; `name` stands in messages for the path.
Result<Config> parse_config(std::string_view text, std::string_view name);

// Sets address and port from "ADDRESS:PORT", "[::1]:5000" for IPv6.
Result<void> set_listen(Config& config, std::string_view text);

}  // namespace runnel::registry
