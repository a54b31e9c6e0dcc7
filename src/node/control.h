// The control socket: HTTP over a unix socket that only root may open.
//
//   GET  /status   what the node streams, as JSON (docs/interfaces.md)
//   POST /clear    deletes every cached layer that no image needs; {"freed_bytes": N}
//   POST /complete starts to bring everything of the mounted images here; GET /complete says how
//                  far that is: {"running", "complete", "bytes_missing", "error"}
#pragma once

#include <string>

#include "base/worker_pool.h"
#include "engine/engine.h"
#include "net/server.h"
#include "node/completion.h"
#include "node/images.h"

namespace runnel::node {

// The node's state for people and programs: engine, images, layers, bytes.
std::string status_json(const Images& images, const engine::Engine& engine);

// Thread-safe. The references must outlive it.
class Control final : public net::Handler {
 public:
  Control(const Images& images, engine::Engine& engine)
      : images_(images), engine_(engine), completion_(engine) {}

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;

 private:
  const Images& images_;
  engine::Engine& engine_;
  Completion completion_;
  WorkerPool pool_{1};
};

}  // namespace runnel::node
