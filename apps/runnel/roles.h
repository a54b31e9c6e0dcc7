// The roles that run until they are told to stop.
#pragma once

#include <string>
#include <vector>

namespace runnel {

struct RegistryFlags {
  std::string data;
  std::string listen;
  std::string config;
  bool check_config = false;
};
int run_registry(const RegistryFlags& flags);

struct NodeFlags {
  std::string root = "/var/lib/containerd/io.containerd.snapshotter.v1.runnel";
  std::string mirror = "127.0.0.1:8578";
  std::string address = "/run/runnel/snapshotter.sock";
  std::string control = "/run/runnel/control.sock";
  std::string engine = "auto";
  std::vector<std::string> streaming_registries;
  std::vector<std::string> trusted_keys;  // PEM files
  std::vector<std::string> plain_http;    // hosts
  bool background_fill = true;
  unsigned read_timeout_s = 60;
  bool worker = false;  // this process is the holder's worker
};
// `argv` is what the holder starts its worker with.
int run_node(const NodeFlags& flags, const std::vector<std::string>& argv);

}  // namespace runnel
