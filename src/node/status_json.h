// The node's state as JSON: what the control socket, the mirror's /status and the commands show.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "net/url.h"
#include "node/containers.h"
#include "node/images.h"

namespace runnel::node {

// Of this worker process.
struct WorkerInfo {
  net::HostPort mirror;
  std::string metrics;  // "127.0.0.1:9863", or "off"
  unsigned restarts = 0;
};

// Engine, images, layers, bytes. Waits for no disk, but for as long as Images::add_page_cache().
std::string status_json(Images& images, const engine::Engine& engine, const WorkerInfo& worker);

std::string containers_json(const std::vector<ContainerStatus>& containers);

}  // namespace runnel::node
