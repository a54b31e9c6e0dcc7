#include "registry/config.h"

#include "base/quote.h"
#include "net/url.h"
#include "settings/settings.h"

namespace runnel::registry {

namespace {

using settings::Section;
using std::chrono::seconds;

constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kYear = 365 * 86400;

Section sections(Config& config) {
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
      .flag("sparse_manifests", config.sparse_manifests)
      .flag("deletion", config.deletion);
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
  RUNNEL_DO(settings::read(sections(config), text, name));
  return config;
}

Result<Config> load_config(const std::string& path) {
  RUNNEL_TRY(const auto text, settings::read_text(path));
  return parse_config(text, path);
}

}  // namespace runnel::registry
