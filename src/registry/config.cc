#include "registry/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/fd.h"
#include "base/quote.h"
#include "net/url.h"

namespace runnel::registry {

namespace {

constexpr uint64_t kMaxFile = 1 << 20;
constexpr int64_t kMaxThreads = 1024;

// Takes one key's value; a text that says what it should have been when it is something else.
using Setter = std::function<Result<void>(const toml::node&, Config&)>;

Result<std::string> text_of(const toml::node& node) {
  if (const auto value = node.value_exact<std::string>(); value && !value->empty()) return *value;
  return fail(Code::kInvalid, "must be a text in quotes");
}

Result<int64_t> number_of(const toml::node& node, int64_t minimum, int64_t maximum) {
  const auto value = node.value_exact<int64_t>();
  if (value && *value >= minimum && *value <= maximum) return *value;
  return fail(Code::kInvalid, "must be a number from {} to {}", minimum, maximum);
}

Result<bool> flag_of(const toml::node& node) {
  if (const auto value = node.value_exact<bool>()) return *value;
  return fail(Code::kInvalid, "must be true or false");
}

Result<void> set_version(const toml::node& node, Config&) {
  if (node.value_exact<int64_t>() == 1) return {};
  return fail(Code::kInvalid, "must be 1: this program reads no other version");
}
Result<void> set_data(const toml::node& node, Config& config) {
  RUNNEL_TRY(config.data, text_of(node));
  return {};
}
Result<void> set_listen_key(const toml::node& node, Config& config) {
  RUNNEL_TRY(const std::string text, text_of(node));
  return set_listen(config, text);
}
Result<void> set_threads(const toml::node& node, Config& config) {
  RUNNEL_TRY(const int64_t threads, number_of(node, 0, kMaxThreads));
  config.threads = static_cast<unsigned>(threads);
  return {};
}
Result<void> set_upload_lifetime(const toml::node& node, Config& config) {
  RUNNEL_TRY(const int64_t seconds, number_of(node, 1, 365 * 86400));
  config.upload_lifetime = std::chrono::seconds(seconds);
  return {};
}
Result<void> set_unreferenced_lifetime(const toml::node& node, Config& config) {
  // Shorter ones would take blobs away from pushes that go on.
  RUNNEL_TRY(const int64_t seconds, number_of(node, 600, 365 * 86400));
  config.unreferenced_lifetime = std::chrono::seconds(seconds);
  return {};
}
Result<void> set_sparse_manifests(const toml::node& node, Config& config) {
  RUNNEL_TRY(config.sparse_manifests, flag_of(node));
  return {};
}
Result<void> set_deletion(const toml::node& node, Config& config) {
  RUNNEL_TRY(config.deletion, flag_of(node));
  return {};
}

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table = {
      {"version", set_version},
      {"data", set_data},
      {"listen", set_listen_key},
      {"threads", set_threads},
      {"upload_lifetime_s", set_upload_lifetime},
      {"unreferenced_lifetime_s", set_unreferenced_lifetime},
      {"sparse_manifests", set_sparse_manifests},
      {"deletion", set_deletion},
  };
  return table;
}

Result<toml::table> parse_table(std::string_view text, std::string_view name) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalid, "{}:{}: {}", name, error.source().begin.line, error.description());
  }
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
  RUNNEL_TRY(const auto table, parse_table(text, name));
  Config config;
  for (const auto& [key, node] : table) {
    const auto line = key.source().begin.line;
    const auto setter = setters().find(key.str());
    if (setter == setters().end())
      return fail(Code::kInvalid, "{}:{}: there is no key {}", name, line, quote(key.str()));
    if (auto outcome = setter->second(node, config); !outcome)
      return fail(Code::kInvalid, "{}:{}: {} {}", name, line, key.str(), outcome.error().message);
  }
  const auto first = std::ranges::min_element(table, {}, [](const auto& entry) {
    return std::pair(entry.first.source().begin.line, entry.first.source().begin.column);
  });
  if (first == table.end() || first->first.str() != "version")
    return fail(Code::kInvalid, "{}:1: the first key must be version = 1", name);
  return config;
}

Result<Config> load_config(const std::string& path) {
  RUNNEL_TRY(const Buffer bytes, read_file(path, kMaxFile));
  return parse_config(as_text(bytes), path);
}

}  // namespace runnel::registry
