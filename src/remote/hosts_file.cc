#include "remote/hosts_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "net/url.h"

namespace runnel::remote {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFile = 1 << 20;
constexpr size_t kMaxHeaders = 64;

std::string beside(const fs::path& file, const std::string& path) {
  return (file.parent_path() / path).string();  // an absolute path stays as it is
}

std::vector<std::string> texts(const toml::node* node) {
  std::vector<std::string> found;
  if (node == nullptr) return found;
  if (const auto text = node->value<std::string>()) found.push_back(*text);
  if (const auto* list = node->as_array())
    for (const auto& element : *list)
      if (const auto text = element.value<std::string>()) found.push_back(*text);
  return found;
}

// "cert", ["cert", …] or [["cert", "key"], …]: the first.
void read_client(const toml::node* node, const fs::path& file, net::TlsSettings& into) {
  if (node == nullptr) return;
  const auto* list = node->as_array();
  const auto pair =
      texts(list != nullptr && !list->empty() && list->get(0)->is_array() ? list->get(0) : node);
  if (pair.empty()) return;
  into.certificate_file = beside(file, pair[0]);
  if (list != nullptr && list->get(0)->is_array() && pair.size() > 1)
    into.key_file = beside(file, pair[1]);
}

Result<void> read_headers(const toml::node* node, net::Headers& into) {
  const auto* table = node == nullptr ? nullptr : node->as_table();
  if (table == nullptr) return {};
  for (const auto& [name, value] : *table)
    for (const auto& text : texts(&value)) into.add(std::string(name.str()), text);
  if (into.size() > kMaxHeaders) return fail(Code::kInvalid, "more than {} headers", kMaxHeaders);
  return into.check();
}

Result<void> read_settings(const toml::table& table, const fs::path& file, HostSettings& into) {
  net::TlsSettings tls;
  for (const auto& path : texts(table.get("ca"))) {
    RUNNEL_TRY(const auto pem, read_file(beside(file, path), kMaxFile));
    tls.authorities += std::string(as_text(pem)) + "\n";
  }
  read_client(table.get("client"), file, tls);
  tls.check_peer = !table["skip_verify"].value_or(false);
  if (tls != net::TlsSettings())
    into.tls = std::make_shared<const net::TlsSettings>(std::move(tls));
  return read_headers(table.get("header"), into.headers);
}

Result<toml::table> parse(std::string_view text, const std::string& path) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalid, "{}:{}: {}", path, error.source().begin.line, error.description());
  }
}

// `server` as a URL without a path; containerd takes one without a scheme too.
Result<std::string> origin_of(std::string server) {
  if (server.find("://") == std::string::npos) server = "https://" + server;
  while (server.ends_with('/')) server.pop_back();
  if (server.ends_with("/v2")) server.resize(server.size() - 3);
  RUNNEL_TRY(const auto url, net::parse_url(server));
  if (url.target != "/")
    return fail(Code::kUnsupported, "server {}: a path other than /v2 is not supported", server);
  return url.scheme + "://" + url.authority.text();
}

Result<HostsFile> read(const toml::table& table, const std::string& path) {
  HostsFile out;
  if (const auto server = table["server"].value<std::string>()) {
    RUNNEL_TRY(out.settings.origin, origin_of(*server));
  }
  RUNNEL_DO(read_settings(table, path, out.settings));
  const auto* hosts = table["host"].as_table();
  if (hosts == nullptr) return out;
  std::vector<std::pair<toml::source_position, std::string>> mirrors;
  for (const auto& [url, settings] : *hosts) {
    const auto origin = origin_of(std::string(url.str()));
    mirrors.emplace_back(url.source().begin, origin ? *origin : std::string(url.str()));
    // Some write the registry itself as a host.
    const bool itself = origin && *origin == out.settings.origin && settings.is_table();
    if (itself) RUNNEL_DO(read_settings(*settings.as_table(), path, out.settings));
  }
  std::ranges::sort(mirrors, {},
                    [](const auto& one) { return std::pair(one.first.line, one.first.column); });
  for (auto& [place, url] : mirrors) out.mirrors.push_back(std::move(url));
  return out;
}

}  // namespace

Result<HostsFile> parse_hosts_file(std::string_view text, const std::string& path) {
  RUNNEL_TRY(const auto table, parse(text, path));
  auto file = read(table, path);
  if (file) return file;
  auto error = file.error().in(path);
  if (error.code == Code::kNotFound) error.code = Code::kInvalid;  // what it names, not itself
  return std::unexpected(std::move(error));
}

Result<HostsFile> read_hosts_file(const std::string& directory, std::string_view host,
                                  bool defaults) {
  const bool plain = !host.starts_with('.') && host.find('/') == std::string_view::npos;
  if (!plain || !net::split_host_port(host)) return fail(Code::kInvalid, "not a host");
  std::vector<std::string> names;
  if (const size_t colon = host.rfind(':'); colon != std::string_view::npos && colon > 0)
    names.push_back(fmt::format("{}_{}_", host.substr(0, colon), host.substr(colon + 1)));
  names.emplace_back(host);
  if (defaults) names.emplace_back("_default");
  for (const auto& name : names) {
    const auto path = fmt::format("{}/{}/hosts.toml", directory, name);
    const auto bytes = read_file(path, kMaxFile);
    if (bytes) return parse_hosts_file(as_text(*bytes), path);
    if (bytes.error().code != Code::kNotFound) return std::unexpected(bytes.error());
  }
  return fail(Code::kNotFound, "{} has no hosts.toml for {}", directory, host);
}

}  // namespace runnel::remote
