#include "node/config.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/quote.h"
#include "net/metrics_server.h"
#include "net/url.h"
#include "settings/settings.h"

namespace runnel::node {

namespace {

using settings::Section;

constexpr int64_t kMostReadTimeout = 3600;
constexpr int64_t kMostKeepUnused = 7 * 24 * 3600;
constexpr uint64_t kMaxPem = 1 << 20;
constexpr const char* kLoopback = "loopback";

// What [registry."HOST"] says of TLS; made into settings when all of it is read.
Result<void> change_tls(remote::HostSettings& settings,
                        const std::function<void(net::TlsSettings&)>& change) {
  net::TlsSettings tls = settings.tls ? *settings.tls : net::TlsSettings();
  change(tls);
  settings.tls = std::make_shared<const net::TlsSettings>(std::move(tls));
  return {};
}

Result<void> set_ca(remote::HostSettings& settings, const std::string& path) {
  RUNNEL_TRY(const Buffer pem, read_file(path, kMaxPem));
  return change_tls(settings, [&](auto& tls) { tls.authorities = as_text(pem); });
}

Section registry_section(remote::HostSettings& settings) {
  Section keys;
  keys.choice("plain_http", [&settings](bool plain) { settings.plain_http = plain; })
      .choice("skip_verify",
              [&settings](bool skip) {
                (void)change_tls(settings, [skip](auto& tls) { tls.check_peer = !skip; });
              })
      .meaning("ca", [&settings](const std::string& path) { return set_ca(settings, path); })
      .meaning("client_certificate",
               [&settings](const std::string& path) {
                 return change_tls(settings, [&](auto& tls) { tls.certificate_file = path; });
               })
      .meaning("client_key",
               [&settings](const std::string& path) {
                 return change_tls(settings, [&](auto& tls) { tls.key_file = path; });
               })
      .each_text("header", [&settings](const std::string& name, const std::string& value) {
        settings.headers.add(name, value);
        return settings.headers.check();
      });
  return keys;
}

Section credentials_section(CredentialPlaces& places) {
  Section keys;
  keys.text("provider_config", places.provider_config)
      .text("provider_directory", places.provider_directory)
      .texts("docker_configs", [&places](std::vector<std::string> paths) -> Result<void> {
        places.docker_configs = std::move(paths);
        return {};
      });
  return keys;
}

Section cache_section(cache::Limits& limits, cache::ScrubOptions& scrub) {
  Section keys;
  keys.number("max_bytes", 0, INT64_MAX, [&limits](int64_t bytes) { limits.max_bytes = bytes; })
      .number("min_free", 0, INT64_MAX, [&limits](int64_t bytes) { limits.min_free = bytes; })
      .number("reserve", 0, INT64_MAX, [&limits](int64_t bytes) { limits.reserve = bytes; })
      .number("scrub_rate", 0, INT64_MAX, [&scrub](int64_t bytes) { scrub.least_rate = bytes; });
  return keys;
}

Section sections(Config& config) {
  Section all;
  all.text("root", config.root)
      .text("address", config.snapshotter_socket)
      .text("control", config.control_socket)
      .text("mirror", config.mirror)
      .meaning("engine",
               [&config](const std::string& name) -> Result<void> {
                 RUNNEL_TRY(config.way, engine::parse_way(name));
                 return {};
               })
      .flag("background_fill", config.background_fill)
      .flag("read_ahead", config.read_ahead)
      .flag("tell_starts", config.tell_starts)
      .flag("direct_io", config.direct_io)
      .number("read_timeout_s", 1, kMostReadTimeout,
              [&config](int64_t seconds) { config.read_timeout = std::chrono::seconds(seconds); })
      .number("keep_unused_s", 1, kMostKeepUnused,
              [&config](int64_t seconds) { config.keep_unused = std::chrono::seconds(seconds); })
      .text("hosts_dir", config.hosts_dir)
      .meaning("metrics",
               [&config](const std::string& text) -> Result<void> {
                 RUNNEL_DO(net::check_metrics_address(text));
                 config.metrics = text;
                 return {};
               })
      .meaning("log_level",
               [&config](const std::string& text) -> Result<void> {
                 RUNNEL_TRY(config.log.level, log::parse_level(text));
                 return {};
               })
      .meaning("log_format",
               [&config](const std::string& text) -> Result<void> {
                 RUNNEL_TRY(config.log.format, log::parse_format(text));
                 return {};
               })
      .texts("streaming_registries",
             [&config](const std::vector<std::string>& hosts) {
               return set_streaming_registries(config, hosts);
             })
      .section("cache", cache_section(config.cache, config.scrub))
      .each_text("trusted_keys",
                 [&config](const std::string& id, const std::string& text) -> Result<void> {
                   RUNNEL_TRY(auto key, parse_trusted_key(id, text));
                   config.trust.keys.push_back(std::move(key));
                   return {};
                 })
      .section("credentials", credentials_section(config.credentials))
      .each("registry", [&config](const std::string& host) {
        return registry_section(config.registries[host]);
      });
  return all;
}

}  // namespace

Result<void> set_streaming_registries(Config& config, const std::vector<std::string>& hosts) {
  for (const auto& host : hosts) {
    if (!net::split_host_port(host))
      return fail(Code::kInvalid, "{} is neither HOST, HOST:PORT nor \"loopback\"", quote(host));
  }
  config.trust.hosts = {hosts.begin(), hosts.end()};
  config.trust.loopback = config.trust.hosts.erase(kLoopback) != 0;
  return {};
}

Result<void> parse_config(Config& config, std::string_view text, std::string_view name) {
  RUNNEL_DO(settings::read(sections(config), text, name));
  const auto& places = config.credentials;
  if (places.provider_config.empty() != places.provider_directory.empty())
    return fail(
        Code::kInvalid,
        "{}: credentials.provider_config and credentials.provider_directory belong together", name);
  return {};
}

Result<void> load_config(Config& config, const std::string& path) {
  if (path.empty() && ::access(kConfigPath, F_OK) != 0) return {};
  const auto name = path.empty() ? std::string(kConfigPath) : path;
  RUNNEL_TRY(const auto text, settings::read_text(name));
  return parse_config(config, text, name);
}

}  // namespace runnel::node
