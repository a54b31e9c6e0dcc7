// What the node is told: node.toml.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "node/node.h"

namespace runnel::node {

// Read when nobody names another; it need not exist.
inline constexpr const char* kConfigPath = "/etc/runnel/node.toml";

// Reads TOML over what `config` holds; "" is kConfigPath, if that is there.
//
//   version = 1                                    # required, first
//   root = "/var/lib/containerd/io.containerd.snapshotter.v1.runnel"
//   address = "/run/runnel/snapshotter.sock"
//   control = "/run/runnel/control.sock"
//   mirror = "127.0.0.1:8578"
//   engine = "auto"
//   background_fill = true
//   read_ahead = true
//   tell_starts = true                             # what they read, to registries of our own
//   direct_io = true      # images from plain files are once in memory; [below 4 GiB of memory]
//   read_timeout_s = 60
//   keep_unused_s = 300                            # an image that streams for nobody
//   hosts_dir = "/etc/containerd/certs.d"          # how containerd reaches registries
//   metrics = "127.0.0.1:9863"                     # or "off"
//   log_level = "info"
//   log_format = "auto"                            # text, json, journal
//   streaming_registries = ["loopback"]            # whose artifacts need no signature
//
//   [cache]                                        # bytes; docs/cache.md
//   max_bytes = 20000000000                        # default: 20 % of the file system
//   min_free = 20000000000                         # likewise
//   reserve = 536870912
//   scrub_rate = 1048576                           # bytes a second, at least; 0: no scrub
//
//   [trusted_keys]                                 # whose signed artifacts are used
//   "0123456789abcdef" = "MCowBQYDK2VwAyEA…"       # ID and Ed25519 public key, base64 or PEM
//
//   [credentials]
//   provider_config = "/etc/kubernetes/credential-providers.yaml"
//   provider_directory = "/usr/libexec/kubelet/credential-providers"
//   docker_configs = ["/root/.docker/config.json", "/var/lib/kubelet/config.json"]
//
//   [registry."registry.example:5000"]             # instead of its hosts.toml
//   plain_http = true
//   ca = "/etc/ssl/our-ca.pem"
//   client_certificate = "/etc/ssl/node.pem"
//   client_key = "/etc/ssl/node.key"
//   skip_verify = true
//   [registry."registry.example:5000".header]
//   "X-Site" = "north"
//
// kInvalid, with the line, for a key that is unknown or has a value that makes no sense.
Result<void> load_config(Config& config, const std::string& path);
// The same from a text; `name` stands in messages for the path.
Result<void> parse_config(Config& config, std::string_view text, std::string_view name);

// What streaming_registries says: hosts, and "loopback" for every loopback host.
Result<void> set_streaming_registries(Config& config, const std::vector<std::string>& hosts);

}  // namespace runnel::node
