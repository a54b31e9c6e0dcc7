#include "node/node.h"

#include "base/durable.h"
#include "base/log.h"
#include "engine/engine.h"
#include "fetch/fetcher.h"
#include "mirror/mirror.h"
#include "net/client.h"
#include "net/server.h"
#include "net/url.h"
#include "node/control.h"
#include "node/images.h"
#include "node/registries.h"
#include "remote/docker_config.h"
#include "remote/gateway.h"
#include "snapshot/service.h"
#include "snapshot/snapshotter.h"
#include "snapshot/store.h"

namespace runnel::node {

namespace {

remote::Hosts hosts_of(const Config& config) {
  remote::Hosts hosts;
  for (const auto& [host, plain] : config.plain_http) {
    remote::HostSettings settings;
    settings.plain_http = plain;
    hosts.set(host, settings);
  }
  return hosts;
}

Result<net::Server::Options> mirror_options(const std::string& listen) {
  RUNNEL_TRY(const auto address, net::split_host_port(listen));
  if (!net::is_loopback_host(address.host)) {
    return fail(Code::kDenied,
                "--mirror {}: the mirror serves without authentication, so it listens on loopback "
                "addresses only",
                listen);
  }
  net::Server::Options options;
  options.address = address.host;
  options.port = address.port.value_or(8578);
  options.threads = 1;
  return options;
}

Result<std::set<std::string>> streamed_chains(const snapshot::Store& store) {
  RUNNEL_TRY(const auto records, store.list());
  std::set<std::string> chains;
  for (const auto& record : records) {
    if (record.streamed()) chains.insert(record.chain_id);
  }
  return chains;
}

// Shuts the fetcher down before the engine goes: its answers use the engine's threads.
class FetcherGuard {
 public:
  explicit FetcherGuard(fetch::Fetcher& fetcher) : fetcher_(fetcher) {}
  ~FetcherGuard() { fetcher_.shutdown(); }
  FetcherGuard(const FetcherGuard&) = delete;
  FetcherGuard& operator=(const FetcherGuard&) = delete;

 private:
  fetch::Fetcher& fetcher_;
};

}  // namespace

Result<void> run_worker(const Config& config, UniqueFd fuse,
                        const std::function<void()>& wait_for_stop) {
  const SystemClock clock;
  RUNNEL_DO(make_directories(config.root, 0711));
  RUNNEL_TRY(const auto mirror_server_options, mirror_options(config.mirror));

  net::Client client;
  net::Client mirror_client;  // of its own: ordinary pulls must not take a reader's connections
  const auto hosts = hosts_of(config);
  const auto credentials =
      std::make_shared<remote::DockerConfig>(remote::DockerConfig::default_path());
  const auto gateway = std::make_shared<remote::Gateway>(client, hosts, credentials, clock);
  fetch::Fetcher fetcher(gateway);
  Registries registries(gateway, fetcher);

  RUNNEL_TRY(auto engine, engine::Engine::start({.root = config.root,
                                                 .way = config.way,
                                                 .read_timeout = config.read_timeout,
                                                 .background_fill = config.background_fill,
                                                 .cache_limits = config.cache},
                                                std::move(fuse), clock));
  const FetcherGuard guard(fetcher);

  RUNNEL_TRY(auto store, snapshot::Store::open(config.root + "/snapshots.db", clock));
  RUNNEL_TRY(const auto held, streamed_chains(*store));
  Images::Options image_options;
  image_options.trust = config.trust;
  RUNNEL_TRY(auto images,
             Images::open(image_options, config.root, held, registries, *engine, clock));
  RUNNEL_TRY(auto snapshotter, snapshot::Snapshotter::open(config.root, *store, *images));

  mirror::Mirror mirror(mirror_client, hosts, *images,
                        [&] { return status_json(*images, *engine); });
  RUNNEL_TRY(auto mirror_server, net::Server::listen(mirror_server_options, mirror));
  Control control(*images, *engine);
  net::Server::Options control_options;
  control_options.address = "unix:" + config.control_socket;
  control_options.threads = 1;
  RUNNEL_TRY(auto control_server, net::Server::listen(control_options, control));
  RUNNEL_TRY(auto service, snapshot::Service::listen(config.snapshotter_socket, *snapshotter));

  log::info("node: engine {}, mirror {}, snapshotter {}, control {}",
            to_string(engine->status().way), config.mirror, config.snapshotter_socket,
            config.control_socket);
  wait_for_stop();
  service->stop();
  mirror_server->stop();
  control_server->stop();
  return {};
}

}  // namespace runnel::node
