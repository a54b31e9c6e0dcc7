#include "registry/config.h"

#include <algorithm>

#include "base/quote.h"
#include "net/metrics_server.h"
#include "net/url.h"
#include "settings/settings.h"

namespace runnel::registry {

namespace {

using settings::Section;
using std::chrono::seconds;

constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kYear = 365 * 86400;

Result<void> set_patterns(std::vector<std::string>& into, std::vector<std::string> patterns) {
  for (const auto& pattern : patterns) RUNNEL_DO(access::check_pattern(pattern));
  into = std::move(patterns);
  return {};
}

Section auth_section(AuthConfig& auth) {
  Section keys;
  keys.text("htpasswd", auth.htpasswd)
      .texts("anonymous_pull",
             [&auth](std::vector<std::string> patterns) {
               return set_patterns(auth.anonymous_pull, std::move(patterns));
             })
      .texts("default_roles",
             [&auth](std::vector<std::string> roles) -> Result<void> {
               for (const auto& name : roles) RUNNEL_DO(access::role(name));
               auth.default_roles = std::move(roles);
               return {};
             })
      .number("token_lifetime_s", 1, 86400,
              [&auth](int64_t value) { auth.token_lifetime = seconds(value); })
      .number("refresh_lifetime_s", 60, kYear,
              [&auth](int64_t value) { auth.refresh_lifetime = seconds(value); });
  return keys;
}

Section limits_section(LimitsConfig& limits) {
  constexpr int64_t kMost = 1'000'000;
  Section keys;
  keys.number("failed_logins_per_minute", 0, kMost,
              [&limits](int64_t value) {
                limits.failed_logins_per_minute = static_cast<unsigned>(value);
              })
      .number("failed_logins_per_address", 0, kMost,
              [&limits](int64_t value) {
                limits.failed_logins_per_address = static_cast<unsigned>(value);
              })
      .number("manifests_per_minute", 0, kMost, [&limits](int64_t value) {
        limits.manifests_per_minute = static_cast<unsigned>(value);
      });
  return keys;
}

Result<void> check_platform(const std::string& text) {
  const auto slashes = std::ranges::count(text, '/');
  if (text.starts_with("linux/") && slashes <= 2 && !text.ends_with('/')) return {};
  return fail(Code::kInvalid, "{} is not a platform such as linux/amd64", quote(text));
}

Section conversion_section(ConversionConfig& conversion) {
  auto& limits = conversion.limits;
  Section keys;
  keys.flag("enabled", conversion.enabled)
      .flag("shared_profiles", conversion.shared_profiles)
      .number("concurrency", 1, 64,
              [&](int64_t value) { conversion.concurrency = static_cast<unsigned>(value); })
      .number("threads", 1, 256,
              [&](int64_t value) { conversion.threads = static_cast<unsigned>(value); })
      .number("worker_memory_mib", 256, 1 << 20,
              [&](int64_t value) { limits.memory_bytes = static_cast<uint64_t>(value) << 20; })
      .number("max_layer_mib", 1, 16 << 20,
              [&](int64_t value) { limits.max_plain_bytes = static_cast<uint64_t>(value) << 20; })
      .number("max_ratio", 1, 100'000,
              [&](int64_t value) { limits.max_ratio = static_cast<uint64_t>(value); })
      .number("max_entries", 1, 16'000'000,
              [&](int64_t value) { limits.max_entries = static_cast<uint64_t>(value); })
      .texts("platforms",
             [&](std::vector<std::string> platforms) -> Result<void> {
               for (const auto& each : platforms) RUNNEL_DO(check_platform(each));
               conversion.platforms = std::move(platforms);
               return {};
             })
      .text("key", conversion.key)
      .number("longest_renewal_s", 1, 86'400,
              [&](int64_t value) { conversion.longest_renewal = seconds(value); })
      .number("keep_operations_days", 1, 3650,
              [&](int64_t value) { conversion.keep_operations = std::chrono::days(value); });
  return keys;
}

Section teleport_section(TeleportConfig& teleport) {
  Section keys;
  keys.number("repositories", 0, 1'000'000,
              [&](int64_t value) { teleport.repositories = static_cast<size_t>(value); })
      .flag("enable_by_push", teleport.enable_by_push);
  return keys;
}

Section webhook_section(WebhookConfig& webhook) {
  Section keys;
  keys.meaning("url",
               [&webhook](const std::string& text) -> Result<void> {
                 if (!net::parse_url(text))
                   return fail(Code::kInvalid, "{} is not a URL", quote(text));
                 webhook.url = text;
                 return {};
               })
      .texts("repositories",
             [&webhook](std::vector<std::string> patterns) {
               return set_patterns(webhook.repositories, std::move(patterns));
             })
      .text("authorization", webhook.authorization)
      .text("ca", webhook.ca);
  return keys;
}

Section scrub_section(Config& config) {
  constexpr int64_t kMost = int64_t{1} << 40;
  Section keys;
  keys.number("bytes_per_second", 0, kMost, [&config](int64_t value) {
    config.scrub_bytes_per_second = static_cast<uint64_t>(value);
  });
  return keys;
}

Section tls_section(TlsConfig& tls) {
  Section keys;
  keys.text("certificate", tls.certificate).text("key", tls.key);
  return keys;
}

Result<void> add_notice(Notices& notices, const std::string& pattern, const std::string& text) {
  RUNNEL_DO(access::check_pattern(pattern));
  RUNNEL_DO(check_notice(text));
  notices[pattern] = text;
  return {};
}

// Roles and repositories come one after the other, in any order: grants are made of both at the
// end.
struct UserKeys {
  access::Actions actions;
  std::vector<std::string> repositories = {"*"};
};

Section user_section(UserKeys& user) {
  Section keys;
  keys.texts("roles",
             [&user](const std::vector<std::string>& roles) -> Result<void> {
               for (const auto& name : roles) {
                 RUNNEL_TRY(const auto actions, access::role(name));
                 user.actions |= actions;
               }
               return {};
             })
      .texts("repositories", [&user](std::vector<std::string> patterns) {
        return set_patterns(user.repositories, std::move(patterns));
      });
  return keys;
}

Result<void> set_external_url(Config& config, std::string text) {
  const auto url = net::parse_url(text);
  if (!url || url->target != "/")
    return fail(Code::kInvalid, "{} is not a URL such as https://registry.example", quote(text));
  if (text.ends_with('/')) text.pop_back();
  config.external_url = std::move(text);
  return {};
}

Section sections(Config& config, std::map<std::string, UserKeys>& users) {
  Section all;
  all.text("data", config.data)
      .meaning("listen", [&config](const std::string& text) { return set_listen(config, text); })
      .number("threads", 0, kMaxThreads,
              [&config](int64_t count) { config.threads = static_cast<unsigned>(count); })
      .number("upload_lifetime_s", 1, kYear,
              [&config](int64_t value) { config.upload_lifetime = seconds(value); })
      // Shorter ones would take blobs away from pushes that go on.
      .number("unreferenced_lifetime_s", 600, kYear,
              [&config](int64_t value) { config.unreferenced_lifetime = seconds(value); })
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
      .text("audit_log", config.audit_log)
      .text("access_log", config.access_log)
      .number("drain_s", 0, 3600, [&config](int64_t value) { config.drain = seconds(value); })
      .flag("sparse_manifests", config.sparse_manifests)
      .flag("deletion", config.deletion)
      .flag("soft_delete", config.soft_delete)
      .number("soft_delete_days", kMinSoftDeleteDays, kMaxSoftDeleteDays,
              [&config](int64_t value) { config.soft_delete_days = std::chrono::days(value); })
      .meaning("external_url",
               [&config](const std::string& text) { return set_external_url(config, text); })
      .section("auth", auth_section(config.auth))
      .each("webhooks",
            [&config](const std::string& name) { return webhook_section(config.webhooks[name]); })
      .section("tls", tls_section(config.tls))
      .section("limits", limits_section(config.limits))
      .section("conversion", conversion_section(config.conversion))
      .section("teleport", teleport_section(config.teleport))
      .section("scrub", scrub_section(config))
      .each_text("notices",
                 [&config](const std::string& pattern, const std::string& text) {
                   return add_notice(config.notices, pattern, text);
                 })
      .each("users", [&users](const std::string& name) { return user_section(users[name]); });
  return all;
}

}  // namespace

Result<void> set_listen(Config& config, std::string_view text) {
  // Port 0, which is none in a URL, asks for a free one here.
  const bool any_port = text.ends_with(":0");
  const auto parsed = net::split_host_port(any_port ? text.substr(0, text.size() - 2) : text);
  if (!parsed || parsed->port.has_value() == any_port || parsed->host.empty())
    return fail(Code::kInvalid, "{} is not ADDRESS:PORT, for example 127.0.0.1:5000", quote(text));
  config.address = parsed->host;
  config.port = parsed->port.value_or(0);
  return {};
}

Result<Config> parse_config(std::string_view text, std::string_view name) {
  Config config;
  std::map<std::string, UserKeys> users;
  RUNNEL_DO(settings::read(sections(config, users), text, name));
  for (const auto& [user, keys] : users) {
    // There even when it gives nothing: who is not in the map has the default roles.
    auto& grants = config.auth.users[user];
    for (const auto& pattern : keys.repositories) grants.emplace_back(pattern, keys.actions);
  }
  for (const auto& [webhook, keys] : config.webhooks)
    if (keys.url.empty())
      return fail(Code::kInvalid, "{}: [webhooks.{}] has no url", name, webhook);
  if (!config.tls.enabled() && !config.tls.key.empty())
    return fail(Code::kInvalid, "{}: [tls] key means nothing without certificate = \"FILE\"", name);
  if (!config.auth.enabled() && !(users.empty() && config.auth.anonymous_pull.empty()))
    return fail(Code::kInvalid,
                "{}: [users] and anonymous_pull mean nothing without [auth] htpasswd = \"FILE\"",
                name);
  return config;
}

Result<Config> load_config(const std::string& path) {
  RUNNEL_TRY(const auto text, settings::read_text(path));
  return parse_config(text, path);
}

}  // namespace runnel::registry
