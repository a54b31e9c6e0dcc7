// `runnel doctor`: tries what a node needs of this machine, and says for each what to do about it.
//
// Everything is tried, nothing is concluded from a version number: EROFS and overlayfs are mounted,
// FUSE is spoken, sockets are asked. What is made for it is gone again afterwards, also when SIGINT
// or SIGTERM end the process in the middle. It needs no running node, and disturbs none.
#pragma once

#include <string>
#include <vector>

#include "node/node.h"

namespace runnel::node {

struct Finding {
  enum class Level : uint8_t {
    kOk,
    kWarning,  // works, but worse than it could
    kFailure,  // nothing streams, or pulls fail, as long as this is so
  };

  Level level = Level::kOk;
  std::string subject;  // "kernel: EROFS"
  std::string found;    // what is the case
  std::string advice;   // what to do; empty with kOk
};
using Findings = std::vector<Finding>;

struct DoctorOptions {
  Config config;
  std::string containerd_socket = "/run/containerd/containerd.sock";
  std::vector<std::string> registries;  // hosts, besides those that go through the mirror
};

// Takes some seconds when something does not answer.
Findings examine(const DoctorOptions& options);

bool has_failure(const Findings& findings);
// One or two lines a finding.
std::string to_text(const Findings& findings);
// {"healthy": …, "findings": [{"level", "subject", "found", "advice"}]}
std::string to_json(const Findings& findings);

}  // namespace runnel::node
