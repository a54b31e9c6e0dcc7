// What the control socket answers about the start of a container or an image.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "node/containers.h"
#include "node/images.h"
#include "node/start_log.h"
#include "snapshot/store.h"
#include "timeline/events.h"

namespace runnel::node {

struct WhyParts {
  const snapshot::Store& store;
  const Images& images;
  const engine::Engine& engine;
  const StartLog& log;
  // Where a registry's host is reached: "127.0.0.1:5000".
  std::function<std::string(const std::string& host)> authority;
  unsigned worker_restarts = 0;
};

// The container of that ID, or the only one whose ID begins so (four letters at least). kInvalid
// when several do.
Result<std::optional<ContainerStatus>> find_container(const std::vector<ContainerStatus>& all,
                                                      const std::string& name);

// `name` is a container's ID (or the beginning of one, at least four letters), or an image as it
// was pulled. Of a container that is not the first of its image, what was from its own creation on.
// kNotFound when it is neither, kInvalid when several containers begin like that.
Result<timeline::Events> events_of(const WhyParts& parts, const std::string& name);

}  // namespace runnel::node
