#include "node/node.h"

#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>

#include "base/durable.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/holder.h"
#include "fetch/fetcher.h"
#include "mirror/mirror.h"
#include "net/client.h"
#include "net/listener.h"
#include "net/metrics_server.h"
#include "net/server.h"
#include "net/url.h"
#include "node/containers.h"
#include "node/control.h"
#include "node/credentials.h"
#include "node/images.h"
#include "node/listeners.h"
#include "node/logins.h"
#include "node/materialize.h"
#include "node/metrics.h"
#include "node/registries.h"
#include "node/registry_check.h"
#include "node/repull.h"
#include "node/start_log.h"
#include "node/start_reporter.h"
#include "node/status_json.h"
#include "node/why.h"
#include "remote/gateway.h"
#include "snapshot/service.h"
#include "snapshot/snapshotter.h"
#include "snapshot/store.h"

namespace runnel::node {

namespace {

constexpr auto kReportTimeout = std::chrono::seconds(5);

remote::Hosts hosts_of(const Config& config) {
  remote::Hosts hosts;
  hosts.set_directory(config.hosts_dir);
  for (const auto& [host, settings] : config.registries) hosts.set(host, settings);
  return hosts;
}

remote::GatewayOptions impatient(Duration timeout) {
  remote::GatewayOptions options;
  options.retry.attempts = 1;
  options.connect_timeout = options.stall_timeout = options.small_timeout = timeout;
  return options;
}

// What hosts.toml files may call the mirror.
std::vector<std::string> mirror_urls(uint16_t port) {
  std::vector<std::string> urls;
  for (const char* host : {"127.0.0.1", "localhost", "[::1]"})
    urls.push_back(fmt::format("http://{}:{}", host, port));
  return urls;
}

net::Server::Options on_socket(const UniqueFd& listener) {
  net::Server::Options options;
  options.address = fmt::format("fd:{}", listener.get());
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

// The page of metrics, which is served before there is anything to measure: `status`, which is up
// earlier, says where.
class LatePage {
 public:
  void set(std::function<std::string()> make) {
    const std::lock_guard lock(mutex_);
    make_ = std::move(make);
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return make_ ? make_() : std::string();
  }

 private:
  mutable std::mutex mutex_;
  std::function<std::string()> make_;
};

constexpr auto kJobPatience = std::chrono::seconds(10);  // the holder has three times that

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

// Clients may outlive what observes them.
class ObserverGuard {
 public:
  ObserverGuard() = default;
  ~ObserverGuard() { net::observe_transfers(nullptr); }
  ObserverGuard(const ObserverGuard&) = delete;
  ObserverGuard& operator=(const ObserverGuard&) = delete;
};

// Answers calls for as long as the snapshotter is there.
class ServiceGuard {
 public:
  ServiceGuard(snapshot::Service& service, snapshot::Snapshotter& snapshotter) : service_(service) {
    service_.attach(snapshotter);
  }
  ~ServiceGuard() { service_.stop(); }
  ServiceGuard(const ServiceGuard&) = delete;
  ServiceGuard& operator=(const ServiceGuard&) = delete;

 private:
  snapshot::Service& service_;
};

}  // namespace

Result<void> check(const Config& config) {
  RUNNEL_TRY(const auto address, mirror_address(config.mirror));
  return {};
}

Result<void> prepare_root(Config& config) {
  RUNNEL_DO(make_directories(config.root, 0711));
  std::error_code error;
  const auto root = std::filesystem::canonical(config.root, error);
  if (error)
    return std::unexpected(
        system_error(error.value(), fmt::format("root directory {}", config.root)));
  config.root = root.string();
  return {};
}

Result<void> run_worker(const Config& config, engine::Handover handover,
                        const std::function<void()>& wait_for_stop) {
  const SystemClock clock;
  StartLog start_log(clock);  // before all that it hears of
  RUNNEL_TRY(auto channel, take_channel(handover));
  RUNNEL_TRY(auto listeners, take_listeners(config, handover));
  RUNNEL_TRY(const auto service, snapshot::Service::serve(std::move(listeners.snapshotter)));
  RUNNEL_TRY(auto mirror_at, mirror_address(config.mirror));
  mirror_at.port = net::local_port(listeners.mirror.get());
  LatePage page;
  const auto metrics_server =
      net::MetricsServer::listen_or_warn(config.metrics, [&page] { return page.text(); });
  const WorkerInfo worker{
      .mirror = mirror_at,
      .metrics = metrics_server ? metrics_server->address() : std::string(net::kNoMetrics),
      .restarts = engine::worker_restarts()};

  net::observe_transfers(&start_log);
  const ObserverGuard observing;
  service->observe(start_log);
  net::Client client;
  net::Client mirror_client;  // of its own: ordinary pulls must not take a reader's connections
  const auto hosts = hosts_of(config);
  Logins logins(config.root);
  const auto credentials = make_credentials(config.credentials, logins, clock);
  const auto gateway = std::make_shared<remote::Gateway>(client, hosts, credentials.all, clock);
  fetch::Fetcher fetcher(gateway);
  const auto is_configured = [&](const std::string& host) {
    return config.trust.hosts.contains(host) ||
           hosts.is_configured(host, mirror_urls(*mirror_at.port));
  };
  Registries registries({.gateway = gateway,
                         .fetcher = fetcher,
                         .renewable = credentials.renewable,
                         .shown = credentials.shown,
                         .is_configured = is_configured});

  RUNNEL_TRY(auto engine, engine::Engine::start({.root = config.root,
                                                 .way = config.way,
                                                 .recovery = config.recovery,
                                                 .read_timeout = config.read_timeout,
                                                 .background_fill = config.background_fill,
                                                 .read_ahead = config.read_ahead,
                                                 .direct_io = config.direct_io,
                                                 .cache_limits = config.cache,
                                                 .scrub = config.scrub},
                                                std::move(channel), clock));
  const FetcherGuard guard(fetcher);
  const auto node_name = node_id(config.root);
  if (!node_name)
    log::error("what starts read is told to no registry: {}", node_name.error().message);

  RUNNEL_TRY(auto store, snapshot::Store::open(config.root + "/snapshots.db", clock));
  RUNNEL_TRY(const auto held, streamed_chains(*store));
  const IsUnpacked is_unpacked = [&store](const std::string& chain_id) {
    return store->chain_is_unpacked(chain_id);
  };
  Images::Options image_options;
  image_options.trust = config.trust;
  image_options.is_unpacked = is_unpacked;
  image_options.keep_unused = config.keep_unused;
  image_options.log = &start_log;
  RUNNEL_TRY(auto images,
             Images::open(image_options, config.root, held, registries, *engine, clock));
  engine->all_layers_added();
  RUNNEL_TRY(auto snapshotter, snapshot::Snapshotter::open(config.root, *store, *images));

  const auto status = [&] { return status_json(*images, *engine, worker); };
  mirror::Mirror mirror(mirror_client, hosts, *images, *credentials.shown, status);
  RUNNEL_TRY(auto mirror_server, net::Server::listen(on_socket(listeners.mirror), mirror));
  const RegistryCheck check(gateway, config.trust, is_configured);
  ImageJobs jobs(clock,
                 {{"materialize",
                   [&](const auto& request, const auto& progress, const auto&) {
                     return materialize(request, registries, clock, progress);
                   }},
                  {"repull", [&](const auto& request, const auto& progress, const auto& stop) {
                     return repull(request, *images, is_unpacked, progress, stop);
                   }}});
  const auto authority_of = [&hosts](const std::string& host) {
    const auto url = hosts.endpoint(host).url;
    const auto scheme = url.find("://");
    return scheme == std::string::npos ? url : url.substr(scheme + 3);
  };
  Control control({.engine = *engine,
                   .images = *images,
                   .gateway = *gateway,
                   .logins = logins,
                   .check = check,
                   .jobs = jobs,
                   .status = status,
                   .containers = [&]() -> Result<std::string> {
                     RUNNEL_TRY(const auto containers, list_containers(*store, *images, *engine));
                     return containers_json(containers);
                   },
                   .why = [&](const std::string& name) -> Result<std::string> {
                     RUNNEL_TRY(const auto events, events_of({.store = *store,
                                                              .images = *images,
                                                              .engine = *engine,
                                                              .log = start_log,
                                                              .authority = authority_of,
                                                              .worker_restarts = worker.restarts},
                                                             name));
                     return timeline::to_json(events);
                   }});
  RUNNEL_TRY(auto control_server, net::Server::listen(on_socket(listeners.control), control));
  const ServiceGuard serving(*service, *snapshotter);
  // Impatient: the end of this process waits for a report under way.
  const auto report_gateway = std::make_shared<remote::Gateway>(client, hosts, credentials.all,
                                                                clock, impatient(kReportTimeout));
  const auto report = [&](const oci::Digest& image) -> Result<void> {
    RUNNEL_TRY(const auto reference, images->reference_of(image));
    RUNNEL_TRY(const auto profile, images->start_profile(reference));
    return tell_registry(report_gateway, credentials.all, reference, profile, *node_name);
  };
  std::optional<StartReporter> reporter;
  if (config.tell_starts && node_name)
    reporter.emplace([&] { return images->starts(); }, report, clock);

  page.set([&] {
    return metrics_text({.images = *images,
                         .engine = *engine,
                         .fetcher = fetcher,
                         .calls = service->counts(),
                         .worker_restarts = worker.restarts});
  });
  log::info("node: engine {}, mirror {}, snapshotter {}, control {}, metrics {}",
            to_string(engine->status().way), mirror_at.text(), config.snapshotter_socket,
            config.control_socket, worker.metrics);
  wait_for_stop();
  page.set({});
  jobs.stop(kJobPatience);
  service->stop();
  mirror_server->stop();
  control_server->stop();
  // Whoever waits for the network must not keep the process. The fetcher first: it sends nothing
  // then, and need not expect to hear from its own thread that nothing is sent any more.
  fetcher.shutdown();
  client.shutdown();
  mirror_client.shutdown();
  return {};
}

}  // namespace runnel::node
