// install/ puts the node between containerd and its registries, and takes it out again.
//
//   toml_text.h    edits of TOML that keep every other byte
//   plan.h         files before → files after: what an install changes. No I/O
//   diff.h         how a person sees a change
//   text_file.h    a configuration file as a whole text
//   transaction.h  file changes that can be taken back byte for byte, by a later process too
//   rollback.h     takes them back, and loses nobody's edit
//   command.h      runs other programs
//   node_root.h    removes what a node keeps
//   machine.h      this machine's containerd and node, asked and told
//
// It does not hold: how the node works (node/) or the command line (cli/, apps/runnel). One thread
// at a time; one install or uninstall a node root at a time, which a lock sees to.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace runnel::install {

struct Options {
  // The node's, as in node.toml.
  std::string node_root;
  std::string snapshotter_socket;
  std::string control_socket;
  std::string mirror;
  std::vector<std::string> node_registries;  // that it asks without being a mirror of theirs

  std::vector<std::string> registries;
  std::string containerd_socket = "/run/containerd/containerd.sock";
  std::string containerd_config;   // "": the one that containerd runs with
  std::string containerd_program;  // "": the one that answers on the socket
  std::string ctr;                 // "": beside containerd's program, else in PATH
  std::string certs_dir;           // "": as containerd is configured
  std::string restart_command = "systemctl restart containerd";
  std::string start_command = "systemctl enable --now runnel-node.service";
  std::string stop_command = "systemctl disable --now runnel-node.service";
  std::string name_space = "k8s.io";  // whose images are unpacked: the CRI's
  std::string verify_image;           // "": one of a registry above that is there already
  bool unpack = true;
  bool dry_run = false;
  // uninstall: over later edits, without completing what runs, and without containerd's answers up
  // to its restart.
  bool force = false;
  bool purge = false;  // uninstall: removes what the node keeps, too

  // Tests: the step before which it fails, or with "crash:" before it ends like by SIGKILL.
  std::string fail_at;

  // What it does, a line each; what a person must know.
  std::function<void(const std::string&)> say = [](const std::string&) {};
};

// Checks, shows the difference, writes, restarts containerd, unpacks what is present, verifies; on
// any failure everything is as before, and the error says why. Finding nothing to change is no
// error. An install that was interrupted is taken back first.
Result<void> install(const Options& options);

// Completes what running containers read, restores every file byte for byte, restarts containerd,
// lets its records go on without the snapshotter, and stops the node when nothing runs from it.
Result<void> uninstall(const Options& options);

}  // namespace runnel::install
