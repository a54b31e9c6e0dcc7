// node/ puts the node together: the images it streams (images), the mirror, the engine, the
// snapshotter and the control socket, in one worker process under the holder.
//
// It does not hold: how any of them works, or the command line (apps/runnel).
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "engine/way.h"
#include "node/images.h"

namespace runnel::node {

struct Config {
  std::string root;
  std::string mirror = "127.0.0.1:8578";  // loopback: it serves without authentication
  std::string snapshotter_socket;
  std::string control_socket;
  engine::Way way = engine::Way::kAuto;
  bool background_fill = true;
  Duration read_timeout = std::chrono::seconds(60);
  Trust trust;
  std::vector<std::string> plain_http;  // hosts besides loopback
};

// Runs the worker on the FUSE connection `fuse` until `wait_for_stop` returns. Call it once a
// process.
Result<void> run_worker(const Config& config, UniqueFd fuse,
                        const std::function<void()>& wait_for_stop);

}  // namespace runnel::node
