// This machine's containerd and node, asked and told.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "install/install.h"
#include "install/plan.h"
#include "snapshot/containerd_client.h"

namespace runnel::install {

// What answers on containerd's socket.
struct Containerd {
  std::string version;
  int major = 0;
  int minor = 0;
  std::string program;
  std::string ctr;
  std::string config;  // its main file; need not exist
};

// kUnavailable when nobody answers; kUnsupported for a version before 1.6; kConflict when it runs
// with another main file than the options say.
Result<Containerd> find_containerd(const Options& options);

// The configuration as containerd itself reads it.
Result<std::string> effective_configuration(const Containerd& containerd);

// The files that a plan is made from.
Result<Found> read_files(const Containerd& containerd, const std::string& certs_directory,
                         const std::vector<Registry>& registries);

// Runs the restart command, and waits until containerd answers and the plugins that matter run.
Result<void> restart_containerd(const Options& options);
// kUnavailable with the plugin's own words when the snapshotter or CRI's plugin did not start.
Result<void> check_plugins(const Options& options, bool with_cri);
// Whether containerd has taken the drop-in's word that the snapshotter maps owners by itself.
// Before 1.7 it asks for no such word.
Result<bool> lets_map_owners(const Options& options, const Containerd& containerd);

// An image of containerd, as its client checks it against one snapshotter.
struct Image {
  std::string name;
  std::string digest;
  bool complete = false;  // every layer is in the content store
  bool unpacked = false;  // into the snapshotter
};
Result<std::vector<Image>> images(const Options& options, const Containerd& containerd,
                                  const std::string& snapshotter);
Result<void> unpack(const Options& options, const Containerd& containerd, const Image& image);

// The node's state of completion; see node/control.h.
struct Completion {
  bool running = false;
  bool complete = false;
  uint64_t bytes_missing = 0;
  std::string error;
};
// POST starts it.
Result<Completion> completion(const Options& options, const char* method);
// The engine that the node chose by trial; kUnavailable when no node answers.
Result<std::string> node_engine(const Options& options);
// Waits for the node to answer.
Result<void> wait_for_node(const Options& options, Duration timeout);

// Every container of every namespace that stands on our snapshotter: namespace, record.
using OurContainers = std::vector<std::pair<std::string, snapshot::ContainerdClient::Container>>;
Result<OurContainers> our_containers(const Options& options);

// containerd no longer keeps unpacked layers because of our snapshotter; those that nothing else
// needs go at once, as long as the snapshotter is there.
Result<void> release_layers(const Options& options);

}  // namespace runnel::install
