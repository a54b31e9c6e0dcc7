#include "registry/registry.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/durable.h"
#include "base/log.h"
#include "blob/directory_store.h"
#include "meta/sqlite_operations.h"
#include "meta/sqlite_store.h"
#include "meta/stored.h"
#include "net/metrics_server.h"
#include "net/server.h"
#include "net/server_tls.h"
#include "net/url.h"
#include "registry/api.h"
#include "registry/boot_profiles.h"
#include "registry/boot_renewal.h"
#include "registry/collector.h"
#include "registry/conversions.h"
#include "registry/converted_layers.h"
#include "registry/converter_key.h"
#include "registry/cut_short.h"
#include "registry/gate.h"
#include "registry/profile_votes.h"
#include "registry/pushed_layers.h"
#include "registry/recorded.h"
#include "registry/scrub_thread.h"
#include "registry/traffic.h"

namespace runnel::registry {

namespace {

// Most of their time the threads wait for syncs, so more than there are processors.
constexpr unsigned kDefaultThreads = 8;
constexpr auto kCleanInterval = std::chrono::minutes(10);
constexpr int kCleansPerCollection = 6;
constexpr int kCleansPerSweep = 6 * 24;

// A machine may come up with a clock that is far ahead, and what it says is long over could be
// forgotten for good: so the first round forgets no deletion. By the second one the clock is set.
bool is_time_to_collect(int round) {
  return round % kCleansPerCollection == 0 || round == 1;
}
Collector::OldDeletions old_deletions(int round) {
  return round == 0 ? Collector::OldDeletions::kKeep : Collector::OldDeletions::kForget;
}

// Throws away what nobody needs, at the start and then now and again, until it goes.
class Housekeeper {
 public:
  Housekeeper(Uploads& uploads, Collector& collector, blob::DirectoryStore& blobs,
              meta::MetadataStore& metadata, std::string database, Traffic& traffic)
      : blobs_(blobs),
        metadata_(metadata),
        database_(std::move(database)),
        traffic_(traffic),
        thread_([this, &uploads, &collector](const std::stop_token& stop) {
          run(uploads, collector, stop);
        }) {}

 private:
  void run(Uploads& uploads, Collector& collector, const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    for (int round = 0; !stop.stop_requested(); ++round) {
      clean(uploads);
      blobs_.close_unused();
      if (is_time_to_collect(round)) report(collector.collect(stop, old_deletions(round)));
      if (round % kCleansPerSweep == 0) report(collector.sweep(stop));
      if (round % kCleansPerSweep == 0) forget(stop);
      remove_old_artifacts();
      measure();
      std::unique_lock lock(mutex);
      wake.wait_for(lock, stop, kCleanInterval, [] { return false; });
    }
  }

  void clean(Uploads& uploads) {
    const auto count = uploads.clean();
    traffic_.add_expired_uploads(count.value_or(0));
    if (!count)
      log::warning("cleaning up uploads: {}", count.error().message);
    else if (*count > 0)
      log::info("threw away {} uploads that nobody finished", *count);
  }

  void report(const Result<Collected>& collected) {
    if (collected) traffic_.add_collection(*collected, std::chrono::system_clock::now());
    if (!collected)
      log::warning("collecting blobs: {}", collected.error().message);
    else if (collected->blobs > 0)
      log::info("threw away {} blobs, {} bytes, that no manifest needs", collected->blobs,
                collected->bytes);
  }

  // What was noted of images and layers that are gone.
  void forget(const std::stop_token& stop) {
    const ConvertedLayers layers(metadata_, blobs_);
    forget("votes", stop,
           [&](const auto& after) { return forget_votes_of_absent(metadata_, after); });
    forget("profiles", stop,
           [&](const auto& after) { return forget_boot_profiles_of_absent(metadata_, after); });
    forget("converted layers", stop,
           [&](const auto& after) { return layers.forget_absent(after); });
  }
  template <class Some>
  void forget(std::string_view what, const std::stop_token& stop, const Some& some) {
    std::string after;
    do {
      const auto next = some(after);
      if (!next) log::warning("forgetting {} of what is gone: {}", what, next.error().message);
      after = next.value_or("");
    } while (!after.empty() && !stop.stop_requested());
  }

  // Looks at every blob's link, so not when nothing has changed.
  void measure() {
    const auto measured = [&]() -> Result<void> {
      if (!watch_) {
        RUNNEL_TRY(watch_, metadata_.watch_changes());
      }
      RUNNEL_TRY(const auto version, watch_->version());
      if (measured_ == version) return {};
      RUNNEL_TRY(const auto stored, meta::stored_in(database_));
      traffic_.set_stored(stored);
      measured_ = version;
      return {};
    }();
    if (!measured) log::warning("measuring what is stored: {}", measured.error().message);
  }

  void remove_old_artifacts() {
    const auto removed = remove_superseded(metadata_, SystemClock().wall());
    if (!removed) log::warning("removing replaced artifacts: {}", removed.error().message);
  }

  blob::DirectoryStore& blobs_;
  meta::MetadataStore& metadata_;
  const std::string database_;
  Traffic& traffic_;
  std::unique_ptr<meta::ChangeWatch> watch_;
  std::optional<uint64_t> measured_;  // the version of the metadata that was measured
  std::jthread thread_;
};

Result<void> check_address(const Config& config) {
  const auto& address = config.address;
  if (net::is_loopback_host(address) || config.auth.enabled()) return {};
  return fail(
      Code::kDenied,
      "not listening on {}: without authentication everyone who can connect could push and "
      "delete. Name a password file ([auth] htpasswd = \"FILE\" in registry.toml; make it with "
      "htpasswd -B -c FILE NAME), or listen on 127.0.0.1",
      address);
}

void warn_of_clear_text(const Config& config) {
  if (config.tls.enabled() || net::is_loopback_host(config.address) ||
      config.external_url.starts_with("https://"))
    return;
  log::warning(
      "passwords come to {} in clear text: name a certificate ([tls] certificate, key), or say "
      "with "
      "external_url that a proxy speaks TLS",
      config.address);
}

std::string audit_path(const Config& config) {
  if (config.audit_log == "off") return {};
  if (!config.audit_log.empty() || !config.auth.enabled()) return config.audit_log;
  return config.data + "/audit.log";
}

Result<std::unique_ptr<Journal>> open_journal(const std::string& path) {
  if (path.empty()) return nullptr;
  return Journal::open(path);
}

// A database without its blobs is a disk that is not mounted, not a new registry.
Result<void> check_complete(const std::string& metadata, const std::string& content) {
  const bool has_metadata = ::access(metadata.c_str(), F_OK) == 0;
  const bool has_content = ::access((content + "/layout").c_str(), F_OK) == 0;
  if (!has_metadata || has_content) return {};
  return fail(Code::kConflict,
              "{} is there, but the blobs that it knows, in {}, are not: mount or restore them",
              metadata, content);
}

}  // namespace

// In the order in which they are made; they end in the reverse order, the server first.
struct Registry::Parts {
  explicit Parts(const Config& c) : config(c) {}

  unsigned threads() const { return config.threads != 0 ? config.threads : kDefaultThreads; }

  Result<void> start_conversions(const std::string& database, const Clock& clock);

  const Config config;
  Traffic traffic;
  std::unique_ptr<blob::DirectoryStore> blobs;
  std::unique_ptr<meta::SqliteStore> metadata;
  std::optional<Uploads> uploads;
  std::optional<Collector> collector;
  std::optional<Housekeeper> housekeeper;
  std::optional<ScrubThread> scrub;
  std::unique_ptr<Gate> gate;
  std::optional<WorkerPool> readers;
  std::optional<WorkerPool> writers;
  std::optional<Services> services;
  std::optional<Api> api;
  std::optional<Counted> counted;
  std::optional<WebhookSender> webhooks;
  std::unique_ptr<meta::SqliteOperations> operations;
  std::optional<artifact::Key> converter_key;
  UniqueFd converting;  // see cut_short.h
  std::optional<ConversionTools> conversion_tools;
  std::optional<Conversions> conversions;
  std::optional<BootRenewal> renewal;
  std::optional<PushedLayers> pushed_layers;
  std::optional<Recorded> recorded;
  std::shared_ptr<net::ServerTls> tls;
  std::optional<net::CertificateWatch> certificate_watch;
  std::unique_ptr<net::Server> server;
  std::unique_ptr<net::MetricsServer> metrics;
};

Result<void> Registry::Parts::start_conversions(const std::string& database, const Clock& clock) {
  RUNNEL_DO(make_directories(config.work_directory(), 0700));
  RUNNEL_TRY(operations, meta::SqliteOperations::open(database, clock));
  RUNNEL_TRY(converting, clear_what_was_cut_short(config.work_directory(), *uploads));
  RUNNEL_TRY(converter_key, load_or_make_converter_key(config));
  conversion_tools.emplace(config, *blobs, *metadata, *uploads, *converter_key,
                           convert::WorkerProgram());
  conversions.emplace(*conversion_tools, *operations, clock, webhooks ? &*webhooks : nullptr);
  services->conversions = &*conversions;
  renewal.emplace(*conversion_tools, clock);
  services->renewal = &*renewal;
  pushed_layers.emplace(*conversion_tools, *operations);
  services->pushed_layers = &*pushed_layers;
  return {};
}

Result<std::unique_ptr<Registry>> Registry::start(const Config& config, const Clock& clock) {
  RUNNEL_DO(check_address(config));
  auto parts = std::make_unique<Parts>(config);
  const auto metadata = config.data + "/metadata.sqlite";
  const auto content = config.data + "/content";
  RUNNEL_DO(make_directories(config.data, 0750));
  RUNNEL_DO(check_complete(metadata, content));
  RUNNEL_TRY(parts->blobs, blob::DirectoryStore::open(content));
  RUNNEL_TRY(parts->metadata, meta::SqliteStore::open(metadata, clock));
  parts->uploads.emplace(*parts->blobs, *parts->metadata, clock, config.upload_lifetime);
  parts->collector.emplace(*parts->blobs, *parts->metadata, clock, config.unreferenced_lifetime,
                           config.soft_delete_days);
  if (config.auth.enabled()) {
    RUNNEL_TRY(parts->gate, Gate::open(parts->config, *parts->metadata, clock));
  }
  parts->readers.emplace(parts->threads());
  parts->writers.emplace(parts->threads());
  parts->services.emplace(parts->config, *parts->blobs, *parts->metadata, *parts->uploads,
                          parts->gate.get(), clock, *parts->readers, *parts->writers);
  parts->api.emplace(*parts->services);
  parts->counted.emplace(*parts->api, parts->traffic);
  RUNNEL_TRY(auto audit, open_journal(audit_path(config)));
  RUNNEL_TRY(auto access, open_journal(config.access_log));
  if (!config.webhooks.empty())
    parts->webhooks.emplace(parts->config.webhooks, *parts->metadata, clock);
  if (config.conversion.enabled) RUNNEL_DO(parts->start_conversions(metadata, clock));
  parts->recorded.emplace(*parts->counted, *parts->services, std::move(audit), std::move(access),
                          parts->webhooks ? &*parts->webhooks : nullptr);
  net::Server::Options options;
  options.stop_grace = config.drain;
  options.address = config.address;
  options.port = config.port;
  if (config.tls.enabled()) {
    RUNNEL_TRY(parts->tls, net::ServerTls::load(config.tls.certificate, config.tls.key));
    parts->certificate_watch.emplace(*parts->tls);
    options.tls = parts->tls;
  }
  parts->metrics = net::MetricsServer::listen_or_warn(
      config.metrics.empty() ? net::kNoMetrics : config.metrics, [parts = parts.get()] {
        const auto& conversions = parts->conversions;
        return parts->traffic.metrics_text() + (conversions ? conversions->metrics_text() : "");
      });
  RUNNEL_TRY(parts->server, net::Server::listen(std::move(options), *parts->recorded));
  warn_of_clear_text(config);
  parts->housekeeper.emplace(*parts->uploads, *parts->collector, *parts->blobs, *parts->metadata,
                             metadata, parts->traffic);
  if (config.scrub_bytes_per_second > 0)
    parts->scrub.emplace(*parts->blobs, *parts->metadata, config.scrub_bytes_per_second);
  return std::unique_ptr<Registry>(new Registry(std::move(parts)));
}

Registry::Registry(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Registry::~Registry() = default;

uint16_t Registry::port() const {
  return parts_->server->port();
}

std::string Registry::metrics_address() const {
  return parts_->metrics ? parts_->metrics->address() : net::kNoMetrics;
}

Result<void> Registry::reload_certificate() {
  if (!parts_->tls) return fail(Code::kUnsupported, "there is no [tls] in the configuration");
  return parts_->tls->reload();
}

void Registry::reopen_logs() {
  parts_->recorded->reopen();
}

void Registry::stop() {
  parts_->recorded->stop();
  parts_->server->stop();
}

}  // namespace runnel::registry
