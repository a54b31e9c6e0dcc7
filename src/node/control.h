// The control socket: HTTP over a unix socket that only root may open.
//
//   GET  /status           what the node streams, as JSON (docs/interfaces.md)
//   GET  /containers       which containers stream, as JSON
//   POST /clear            deletes every cached layer that no image needs; {"freed_bytes": N}
//   POST /complete         starts to bring everything of the mounted images here
//   GET  /complete         how far that is: {"running", "complete", "bytes_missing", "error"}
//   POST /profile          {"image"}: what its start read, as artifact/profile.h has it
//   POST /why              {"name"}: what is known of the start of a container or an image, as
//                          timeline/events.h has it
//   POST /login            {"host", "user", "secret"}: tries them, and keeps good ones
//   POST /logout           {"host"}
//   POST /materialize, /repull   {"image", "address"[, "namespace"]}: begins it or joins it
//                          (image_jobs.h), waits a second at most, and says how far it is:
//                          {"ended", "error", "layers", "layers_here", "bytes", "bytes_total"};
//                          whoever wants the end asks again until "ended"
//   POST /check-registry   {"reference"}: {"ok", "steps": [{"step", "ok", "detail", "next"}]}
//
// A refusal has {"error": "a sentence"}.
#pragma once

#include <functional>
#include <string>

#include "base/worker_pool.h"
#include "engine/engine.h"
#include "net/server.h"
#include "node/completion.h"
#include "node/image_jobs.h"
#include "node/images.h"
#include "node/logins.h"
#include "node/registry_check.h"
#include "remote/gateway.h"

namespace runnel::node {

// Thread-safe. The references must outlive it.
class Control final : public net::Handler {
 public:
  struct Parts {
    engine::Engine& engine;
    Images& images;
    remote::Gateway& gateway;
    Logins& logins;
    const RegistryCheck& check;
    ImageJobs& jobs;
    std::function<std::string()> status;
    std::function<Result<std::string>()> containers;
    std::function<Result<std::string>(const std::string& name)> why;
  };
  explicit Control(Parts parts) : parts_(std::move(parts)), completion_(parts_.engine) {}

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;

 private:
  struct Route {
    const char* method;
    const char* path;
    net::Response (Control::*run)(const std::string& body);  // may block
  };
  static const Route* find(const net::Request& request);

  net::Response status(const std::string& body);
  net::Response containers(const std::string& body);
  net::Response clear(const std::string& body);
  net::Response complete(const std::string& body);
  net::Response completion(const std::string& body);
  net::Response profile(const std::string& body);
  net::Response why(const std::string& body);
  net::Response login(const std::string& body);
  net::Response logout(const std::string& body);
  net::Response check_registry(const std::string& body);
  net::Response materialize(const std::string& body);
  net::Response repull(const std::string& body);
  net::Response job(const std::string& work, const std::string& body);

  const Parts parts_;
  Completion completion_;
  WorkerPool pool_{3};  // one may wait for a registry, one for a job, while another answers
};

}  // namespace runnel::node
