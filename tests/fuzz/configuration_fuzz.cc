// Any bytes as the files that people write for a registry or a node: registry.toml, node.toml,
// containerd's hosts.toml and config.toml, kubelet's credential providers. What breaks the format
// is refused with the name of its file; what is understood is within its bounds, and an edit
// changes nothing but what it is for.
//
// links: registry node install
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "install/toml_text.h"
#include "net/url.h"
#include "node/config.h"
#include "registry/config.h"
#include "remote/hosts_file.h"
#include "remote/provider_config.h"

using runnel::Error;
namespace net = runnel::net;
namespace remote = runnel::remote;

namespace {

const std::string kFile = "/nowhere/a.file";

void check_names_its_file(const Error& error) {
  RUNNEL_CHECK(error.message.starts_with(kFile));
}

void registry_config(std::string_view text) {
  const auto config = runnel::registry::parse_config(text, kFile);
  if (!config) return check_names_its_file(config.error());
  RUNNEL_CHECK(config->soft_delete_days >= std::chrono::days(1));
  RUNNEL_CHECK(config->soft_delete_days <= std::chrono::days(90));
  RUNNEL_CHECK(config->upload_lifetime > std::chrono::seconds(0));
  RUNNEL_CHECK(config->auth.token_lifetime > std::chrono::seconds(0));
  RUNNEL_CHECK(config->external_url.empty() || net::parse_url(config->external_url));
  for (const auto& [name, webhook] : config->webhooks) RUNNEL_CHECK(!webhook.url.empty());
}

void node_config(std::string_view text) {
  runnel::node::Config config;
  const auto read = runnel::node::parse_config(config, text, kFile);
  if (!read) return check_names_its_file(read.error());
  const auto& places = config.credentials;
  RUNNEL_CHECK(places.provider_config.empty() == places.provider_directory.empty());
}

void hosts_file(std::string_view text) {
  // It would open what the text names.
  if (text.contains("ca")) return;
  const auto file = remote::parse_hosts_file(text, kFile);
  if (!file) return check_names_its_file(file.error());
  const auto& settings = file->settings;
  RUNNEL_CHECK(settings.headers.check().has_value());
  if (settings.origin.empty()) return;
  const auto url = net::parse_url(settings.origin);
  RUNNEL_CHECK(url && url->target == "/");
  // As a file with nothing else says it.
  const auto again = remote::parse_hosts_file("server = '" + settings.origin + "'", kFile);
  RUNNEL_CHECK(again && again->settings.origin == settings.origin);
}

void providers(std::string_view text) {
  const auto parsed = remote::parse_provider_config(std::string(text), kFile);
  if (!parsed) return check_names_its_file(parsed.error());
  for (const auto& provider : *parsed) {
    // It is started from the directory of providers, and from nowhere else.
    RUNNEL_CHECK(!provider.name.empty() && provider.name.find('/') == std::string::npos);
    RUNNEL_CHECK(provider.name != "." && provider.name != "..");
    RUNNEL_CHECK(provider.cache_duration >= runnel::Duration::zero());
    for (const auto& pattern : provider.match_images) {
      remote::matches_image(pattern, "registry.example:5000/team/app");
      remote::matches_image(pattern, pattern);
    }
  }
}

void edits(std::string_view document) {
  const std::string text(document);
  const runnel::install::TomlPath path = {"plugins", "io.containerd.cri", "snapshotter"};
  const std::string value = "run\nnel\"";
  const auto before = runnel::install::toml_flat(text);
  for (const auto& edited : {runnel::install::toml_set(text, path, value),
                             runnel::install::toml_insert_first(
                                 text, {"plugins", "io.containerd.cri"}, "snapshotter", value)}) {
    if (!edited) continue;
    RUNNEL_CHECK(runnel::install::toml_value(*edited, path) == runnel::install::TomlValue(value));
    const auto after = runnel::install::toml_flat(*edited);
    RUNNEL_CHECK(before && after && after->size() - before->size() <= 1);
    RUNNEL_CHECK(runnel::install::toml_set(*edited, path, value) == edited);
  }
}

void duration(std::string_view text) {
  const auto parsed = remote::parse_go_duration(text);
  if (!parsed) return;
  RUNNEL_CHECK(*parsed >= runnel::Duration::zero());
  RUNNEL_CHECK(*parsed <= std::chrono::hours(24) * 365 * 10);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = runnel::as_text(std::as_bytes(std::span(data, size)));
  registry_config(text);
  node_config(text);
  hosts_file(text);
  providers(text);
  edits(text);
  duration(text);
  return 0;
}
