// The roles that run until they are told to stop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "node/node.h"

namespace runnel {

struct LogFlags {
  std::optional<std::string> level;
  std::optional<std::string> format;
};
// Flag over what is there.
Result<void> set_log(log::Options& options, const LogFlags& flags);

struct RegistryFlags {
  LogFlags log;
  std::optional<std::string> metrics;
  std::string data;
  std::string listen;
  std::string config;
  bool check_config = false;
};
int run_registry(const RegistryFlags& flags);

// What was said by flag or environment: it goes over the file.
struct NodeFlags {
  LogFlags log;
  std::optional<std::string> metrics;
  std::string config;
  bool check_config = false;
  std::optional<std::string> root;
  std::optional<std::string> mirror;
  std::optional<std::string> address;
  std::optional<std::string> control;
  std::optional<std::string> engine;
  std::optional<std::string> recovery;
  std::optional<std::string> hosts_dir;
  std::vector<std::string> streaming_registries;
  std::vector<std::string> trusted_keys;  // PEM files, besides those of the file
  std::vector<std::string> plain_http;    // hosts, likewise
  std::optional<bool> background_fill;
  std::optional<bool> read_ahead;
  std::optional<bool> tell_starts;
  std::optional<bool> direct_io;
  std::optional<unsigned> read_timeout_s;
  std::optional<uint64_t> cache_max_bytes;
  std::optional<uint64_t> cache_min_free;
  std::optional<uint64_t> cache_reserve;
  bool worker = false;  // this process is the holder's worker
};
// Flag over environment (the command line has seen to that) over file over default.
Result<node::Config> node_config(const NodeFlags& flags);
// `argv` is what the holder starts its worker with.
int run_node(const NodeFlags& flags, const std::vector<std::string>& argv);

struct DoctorFlags {
  NodeFlags node;
  std::string containerd = "/run/containerd/containerd.sock";
  std::vector<std::string> registries;  // hosts
  bool json = false;
};
int run_doctor(const DoctorFlags& flags);

}  // namespace runnel
