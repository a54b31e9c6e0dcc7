// The node's page of metrics: runnel_node_*.
#pragma once

#include <string>

#include "engine/engine.h"
#include "fetch/fetcher.h"
#include "node/images.h"
#include "snapshot/call_counts.h"

namespace runnel::node {

// All of it counts since the worker's start, except the restarts, which count since the holder's.
struct Measured {
  Images& images;
  const engine::Engine& engine;
  const fetch::Fetcher& fetcher;
  const snapshot::CallCounts& calls;
  unsigned worker_restarts = 0;
};

// Any thread; as long as Images::add_page_cache().
std::string metrics_text(const Measured& measured);

}  // namespace runnel::node
