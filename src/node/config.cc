#include "node/config.h"

#include "base/quote.h"
#include "net/url.h"
#include "settings/settings.h"

namespace runnel::node {

namespace {

using settings::Section;

constexpr int64_t kMostReadTimeout = 3600;

Section registry_section(Config& config, const std::string& host) {
  auto& plain_http = config.plain_http;
  Section keys;
  keys.flag("plain_http", plain_http[host]);
  return keys;
}

Section cache_section(cache::Limits& limits) {
  Section keys;
  keys.number("max_bytes", 0, INT64_MAX, [&limits](int64_t bytes) { limits.max_bytes = bytes; })
      .number("min_free", 0, INT64_MAX, [&limits](int64_t bytes) { limits.min_free = bytes; })
      .number("reserve", 0, INT64_MAX, [&limits](int64_t bytes) { limits.reserve = bytes; });
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
      .number("read_timeout_s", 1, kMostReadTimeout,
              [&config](int64_t seconds) { config.read_timeout = std::chrono::seconds(seconds); })
      .text("hosts_dir", config.hosts_dir)
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
      .section("cache", cache_section(config.cache))
      .each_text("trusted_keys",
                 [&config](const std::string& id, const std::string& text) -> Result<void> {
                   RUNNEL_TRY(auto key, parse_trusted_key(id, text));
                   config.trust.keys.push_back(std::move(key));
                   return {};
                 })
      .each("registry",
            [&config](const std::string& host) { return registry_section(config, host); });
  return all;
}

}  // namespace

Result<void> set_streaming_registries(Config& config, const std::vector<std::string>& hosts) {
  for (const auto& host : hosts) {
    if (!net::split_host_port(host))
      return fail(Code::kInvalid, "{} is neither HOST, HOST:PORT nor \"loopback\"", quote(host));
  }
  config.trust.streaming_registries = {hosts.begin(), hosts.end()};
  return {};
}

Result<void> parse_config(Config& config, std::string_view text, std::string_view name) {
  return settings::read(sections(config), text, name);
}

Result<void> load_config(Config& config, const std::string& path) {
  RUNNEL_TRY(const auto text, settings::read_text(path));
  return parse_config(config, text, path);
}

}  // namespace runnel::node
