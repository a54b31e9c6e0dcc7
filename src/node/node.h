// node/ puts the node together: the images it streams (images), the mirror, the engine, the
// snapshotter and the control socket, in one worker process under the holder.
//
// It does not hold: how any of them works, or the command line (apps/runnel).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "cache/budget.h"
#include "cache/scrubber.h"
#include "engine/fuse_connection.h"
#include "engine/handover.h"
#include "engine/short_memory.h"
#include "engine/way.h"
#include "node/trust.h"
#include "remote/hosts.h"

namespace runnel::node {

// Where this node finds credentials, besides `runnel login` and what clients show it.
struct CredentialPlaces {
  // Kubelet's CredentialProviderConfig and the directory of its programs; both or none.
  std::string provider_config;
  std::string provider_directory;
  // In docker's format; those that do not exist are empty.
  std::vector<std::string> docker_configs;
};

// As docs/interfaces.md has it; read from node.toml, environment and flags.
struct Config {
  std::string root = "/var/lib/containerd/io.containerd.snapshotter.v1.runnel";
  std::string mirror = "127.0.0.1:8578";  // loopback: it serves without authentication
  std::string snapshotter_socket = "/run/runnel/snapshotter.sock";
  std::string control_socket = "/run/runnel/control.sock";
  engine::Way way = engine::Way::kAuto;
  engine::Recovery recovery = engine::Recovery::kAuto;
  bool background_fill = true;
  bool read_ahead = true;
  bool tell_starts = true;  // StartReporter
  // engine::Engine::Options; on by itself where memory is short.
  bool direct_io = engine::is_short(engine::memory_of_this_machine());
  cache::Limits cache;  // [cache]
  cache::ScrubOptions scrub;
  Duration read_timeout = std::chrono::seconds(60);
  Duration keep_unused = std::chrono::minutes(5);  // Images::Options
  std::string metrics = "127.0.0.1:9863";          // ADDR:PORT of the page of metrics, or "off"
  log::Options log;
  Trust trust;
  // hosts.toml files of containerd; need not exist.
  std::string hosts_dir = "/etc/containerd/certs.d";
  std::map<std::string, remote::HostSettings> registries;  // instead of hosts_dir, by host
  CredentialPlaces credentials;
};

// What can be said about a configuration without starting anything.
Result<void> check(const Config& config);

// Makes the root directory if need be, and has `config` name it as the kernel does, without links:
// what is mounted below it is looked for in the kernel's table. Before the holder and each worker.
Result<void> prepare_root(Config& config);

// Runs the worker on what the holder handed over until `wait_for_stop` returns. Call it once a
// process.
Result<void> run_worker(const Config& config, engine::Handover handover,
                        const std::function<void()>& wait_for_stop);

}  // namespace runnel::node
