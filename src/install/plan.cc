#include "install/plan.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "base/quote.h"
#include "install/toml_text.h"

namespace runnel::install {

namespace {

constexpr const char* kCri1 = "io.containerd.grpc.v1.cri";
constexpr const char* kCri2 = "io.containerd.cri.v1.images";
constexpr const char* kTransfer = "io.containerd.transfer.v1.local";
constexpr const char* kOurs =
    "# Written by \"runnel node install\"; \"runnel node uninstall\" takes it away.\n";

std::string text_at(const std::string& toml, const TomlPath& path) {
  const auto value = toml_value(toml, path);
  const auto* text = value ? std::get_if<std::string>(&*value) : nullptr;
  return text == nullptr ? std::string() : *text;
}

std::vector<std::string> list_at(const std::string& toml, const TomlPath& path) {
  const auto value = toml_value(toml, path);
  const auto* list = value ? std::get_if<std::vector<std::string>>(&*value) : nullptr;
  return list == nullptr ? std::vector<std::string>() : *list;
}

// Where CRI's keys are, by the names of containerd `major`. The effective configuration has those
// of the containerd that printed it, whatever the version of its files.
TomlPath registry_path(int major) {
  return {"plugins", major >= 2 ? kCri2 : kCri1, "registry"};
}

// The table with "snapshotter".
TomlPath cri_path(int major) {
  if (major >= 2) return {"plugins", kCri2};
  return {"plugins", kCri1, "containerd"};
}

TomlPath operator/(TomlPath path, const char* key) {
  path.emplace_back(key);
  return path;
}

struct Key {
  TomlPath path;
  TomlValue value;
};

// Where hosts.toml files are sought: what is configured, with every directory of it; else ours, and
// containerd 2's second default besides its first.
std::string config_path_value(const Found& found) {
  auto configured = text_at(found.effective, registry_path(found.major) / "config_path");
  if (!configured.empty()) return configured;
  const bool first_default = found.certs_directory == "/etc/containerd/certs.d";
  return found.certs_directory + (found.major >= 2 && first_default ? ":/etc/docker/certs.d" : "");
}

// What CRI has to be told, by the names of containerd `major`.
std::vector<Key> cri_keys(const Found& found, int major) {
  const auto cri = cri_path(major);
  return {{cri / "snapshotter", std::string("runnel")},
          {cri / "disable_snapshot_annotations", false},
          {registry_path(major) / "config_path", config_path_value(found)}};
}

// The main file's own list counts: containerd 2 says that it imports conf.d also where no file
// does, and then reads nothing of it.
bool imports_drop_in(const Found& found) {
  if (!found.config_text) return false;
  const auto target = drop_in_path(found.config_path);
  return std::ranges::any_of(list_at(*found.config_text, {"imports"}), [&](const auto& pattern) {
    return ::fnmatch(pattern.c_str(), target.c_str(), FNM_PATHNAME) == 0;
  });
}

// 2.x: the transfer service unpacks only for snapshotters that are listed, and a list of ours would
// take the place of its default.
std::string unpack_config(const Found& found, const Wanted& wanted) {
  const TomlPath list = {"plugins", kTransfer, "unpack_config"};
  const bool own = found.config_text && toml_has(*found.config_text, list);
  std::string text;
  for (const std::string snapshotter : {"overlayfs", "runnel"}) {
    if (own && snapshotter != "runnel") continue;
    text += fmt::format(
        "\n[[plugins.{}.unpack_config]]\n  platform = {}\n  snapshotter = {}\n  differ = "
        "\"walking\"\n",
        toml_quote(kTransfer), toml_quote(wanted.platform), toml_quote(snapshotter));
  }
  return text;
}

// What containerd is told of the snapshotter. From 1.7 on it copies an image for each mapping of
// owners unless the snapshotter says that it maps by itself.
std::string proxy_plugin(const Found& found, const Wanted& wanted) {
  auto text = fmt::format("[proxy_plugins.runnel]\n  type = \"snapshot\"\n  address = {}\n",
                          toml_quote(wanted.snapshotter_socket));
  if (found.major < 2 && found.minor < 7) return text;
  text += fmt::format(
      "  capabilities = [\"remap-ids\"]\n  [proxy_plugins.runnel.exports]\n    root = {}\n",
      toml_quote(wanted.node_root));
  if (found.major >= 2) text += "    enable_remote_snapshot_annotations = \"true\"\n";
  return text;
}

// The newest version of a configuration file that this program writes for containerd `major`; every
// 2.x reads 3.
int64_t newest_version(int major) {
  return major >= 2 ? 3 : 2;
}

Result<std::string> drop_in(const Found& found, const Wanted& wanted, bool with_cri,
                            int64_t version) {
  auto text = fmt::format("{}version = {}\n\n{}", kOurs, version, proxy_plugin(found, wanted));
  std::vector<Key> keys;
  if (with_cri) keys = cri_keys(found, found.major);
  // containerd 2 moves what a file of version 2 says by the old names: 2.0 to 2.2 those of all
  // files together, over the new names that are there; 2.3 each file's, but not all keys of a file
  // that names no runtimes. By both names it is right for each.
  if (with_cri && found.major >= 2 && version < 3)
    std::ranges::move(cri_keys(found, 1), std::back_inserter(keys));
  for (const auto& key : keys) {
    RUNNEL_TRY(text, toml_set(text, key.path, key.value));
  }
  if (found.major >= 2) text += unpack_config(found, wanted);
  return text;
}

void add_change(Plan& plan, std::string path, const std::optional<std::string>& before,
                std::string after) {
  if (before == after) return;
  plan.changes.push_back({std::move(path), before, std::move(after)});
}

Result<void> plan_containerd(const Found& found, const Wanted& wanted, Plan& plan) {
  const auto newest = newest_version(found.major);
  std::string main = found.config_text.value_or(fmt::format("{}version = {}\n", kOurs, newest));
  const auto version = toml_value(main, {"version"});
  const auto* number = version ? std::get_if<int64_t>(&*version) : nullptr;
  if (number == nullptr || *number < 2) {
    return fail(Code::kUnsupported,
                "{} is of version 1: write it anew by \"containerd config migrate\" first",
                found.config_path);
  }
  const bool cri = has_cri(found.effective);
  if (!cri) {
    plan.notes.push_back(
        "containerd's CRI plugin is disabled (disabled_plugins): only clients that name the "
        "snapshotter \"runnel\" will stream");
  }
  const bool in_main =
      cri && found.major < 2 && found.config_text && toml_has(main, {"plugins", kCri1});
  if (in_main) {
    for (const auto& key : cri_keys(found, found.major)) {
      if (toml_value(main, key.path) == key.value) continue;
      auto edited = toml_set(main, key.path, key.value);
      if (!edited) return std::unexpected(edited.error().in(found.config_path));
      main = *std::move(edited);
    }
  }
  if (!imports_drop_in(found)) {
    auto edited = toml_append(main, {"imports"}, drop_in_path(found.config_path));
    if (!edited) return std::unexpected(edited.error().in(found.config_path));
    main = *std::move(edited);
  }
  RUNNEL_TRY(auto ours, drop_in(found, wanted, cri && !in_main, std::min(*number, newest)));
  add_change(plan, drop_in_path(found.config_path), found.drop_in_text, std::move(ours));
  add_change(plan, found.config_path, found.config_text, std::move(main));
  return {};
}

// Whether a hosts.toml names certificate files, which may be relative to its own directory.
bool names_files(const std::string& hosts) {
  const auto flat = toml_flat(hosts);
  return flat && std::ranges::any_of(*flat, [](const auto& entry) {
           const auto& name = entry.first;
           return name == "ca" || name == "client" || name.ends_with(".ca") ||
                  name.ends_with(".client");
         });
}

Result<std::string> new_hosts(const Registry& registry, const Found::Hosts& hosts, Plan& plan) {
  if (!hosts.other_files.empty()) {
    return fail(Code::kUnsupported,
                "there is no hosts.toml but {}: containerd would stop reading that file beside a "
                "hosts.toml; write one that names it, then install again",
                hosts.other_files.front());
  }
  if (!hosts.default_text) {
    return fmt::format("{}server = {}\n", kOurs, toml_quote(registry.server()));
  }
  if (names_files(*hosts.default_text)) {
    return fail(Code::kUnsupported,
                "_default/hosts.toml, which serves {} so far, names certificates: copy it here by "
                "hand with absolute paths, then install again",
                registry.host);
  }
  plan.notes.push_back(
      fmt::format("{} was served by _default/hosts.toml: its content is copied", registry.host));
  return *hosts.default_text;
}

// Who has mirrors of their own should know that they come second.
void note_other_hosts(const Registry& registry, const std::string& text, Plan& plan) {
  auto server = text_at(text, {"server"});
  if (server.empty()) server = registry.server();
  auto others = toml_tables(text, {"host"});
  std::erase(others, server);
  if (others.empty()) return;
  plan.notes.push_back(fmt::format(
      "{}: {} came first so far. From now on containerd asks there only when the mirror has "
      "failed, and the node reads from {} alone",
      registry.host, fmt::join(others, ", "), server));
}

Result<std::string> hosts_text(const Registry& registry, const Found::Hosts& hosts,
                               const std::string& mirror, Plan& plan) {
  std::string text;
  if (hosts.text) {
    text = *hosts.text;
  } else {
    RUNNEL_TRY(text, new_hosts(registry, hosts, plan));
  }
  RUNNEL_DO(check_toml(text));
  const auto url = "http://" + mirror;
  if (toml_has(text, {"host", url})) {
    const auto able = list_at(text, {"host", url, "capabilities"});
    const std::set<std::string> capabilities(able.begin(), able.end());
    if (capabilities.contains("pull") && capabilities.contains("resolve")) return text;
    return toml_set(text, {"host", url, "capabilities"},
                    std::vector<std::string>{"pull", "resolve"});
  }
  note_other_hosts(registry, text, plan);
  return toml_insert_first(text, {"host", url}, "capabilities",
                           std::vector<std::string>{"pull", "resolve"});
}

// Keys of the effective configuration that an install may change.
bool is_ours(const std::string& key) {
  static const std::set<std::string> kKeys = {
      "imports",
      "version",
      "plugins.\"io.containerd.grpc.v1.cri\".containerd.snapshotter",
      "plugins.\"io.containerd.grpc.v1.cri\".containerd.disable_snapshot_annotations",
      "plugins.\"io.containerd.grpc.v1.cri\".registry.config_path",
      "plugins.\"io.containerd.cri.v1.images\".snapshotter",
      "plugins.\"io.containerd.cri.v1.images\".disable_snapshot_annotations",
      "plugins.\"io.containerd.cri.v1.images\".registry.config_path",
      "plugins.\"io.containerd.transfer.v1.local\".unpack_config",
  };
  return kKeys.contains(key) || key.starts_with("proxy_plugins.runnel.");
}

}  // namespace

Result<Registry> Registry::parse(const std::string& text) {
  Registry registry;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    registry.plain_http = true;
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  }
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const bool good =
      !rest.empty() && rest != "_default" && !rest.starts_with('.') &&
      std::ranges::all_of(rest, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
      });
  if (!good) {
    return fail(Code::kInvalid,
                "--registry {}: give the host of image names, for example "
                "registry.example.com:5000",
                quote(text));
  }
  registry.host = rest;
  const bool loopback =
      rest.starts_with("127.") || rest.starts_with("localhost") || rest.starts_with("[::1]");
  registry.plain_http = registry.plain_http || (loopback && !text.starts_with("https://"));
  return registry;
}

std::string Registry::server() const {
  if (host == "docker.io") return "https://registry-1.docker.io";
  return (plain_http ? "http://" : "https://") + host;
}

std::string drop_in_path(const std::string& config_path) {
  const auto slash = config_path.rfind('/');
  return config_path.substr(0, slash == std::string::npos ? 0 : slash + 1) + "conf.d/runnel.toml";
}

Result<std::string> certs_directory(const std::string& effective, int major,
                                    const std::string& fallback) {
  const auto registry = registry_path(major);
  const auto configured = text_at(effective, registry / "config_path");
  if (!configured.empty()) return configured.substr(0, configured.find(':'));
  for (const char* old : {"mirrors", "configs"}) {
    if (toml_tables(effective, registry / old).empty()) continue;
    return fail(Code::kUnsupported,
                "containerd's configuration has registry.{}, which it does not allow together with "
                "hosts.toml files: move those registries to {}/HOST/hosts.toml first",
                old, fallback);
  }
  return fallback;
}

bool has_cri(const std::string& effective) {
  const auto disabled = list_at(effective, {"disabled_plugins"});
  return std::ranges::none_of(disabled, [](const auto& name) {
    return name == "cri" || name == kCri1 || name == "io.containerd.cri.v1" || name == kCri2;
  });
}

std::vector<std::string> host_directories(const std::string& host) {
  const auto colon = host.rfind(':');
  if (colon == std::string::npos || colon == 0) return {host};
  return {host.substr(0, colon) + "_" + host.substr(colon + 1) + "_", host};
}

std::string what_streams(const std::set<std::string>& registries) {
  if (registries.empty()) {
    return "no image streams yet, because containerd asks no registry through the node. Name one, "
           "as image names do: runnel node install --registry registry.example.com:5000 (and what "
           "else was said now)";
  }
  return fmt::format(
      "images of {} stream when they are pulled and have a streaming artifact, which "
      "runnel convert IMAGE makes",
      fmt::join(registries, ", "));
}

Result<Plan> plan(const Found& found, const Wanted& wanted) {
  Plan plan;
  if (found.config_text) {
    if (auto checked = check_toml(*found.config_text); !checked)
      return std::unexpected(checked.error().in(found.config_path));
  }
  for (const auto& registry : wanted.registries) {
    const auto& hosts = found.hosts.at(registry.host);
    if (!hosts.refused.empty()) {
      return fail(Code::kUnsupported,
                  "{}. The node would have to refuse every pull of {}: leave this registry to "
                  "containerd alone, or write the file so that the node can follow it",
                  hosts.refused, registry.host);
    }
    auto text = hosts_text(registry, hosts, wanted.mirror, plan);
    if (!text) return std::unexpected(text.error().in(hosts.path));
    add_change(plan, hosts.path, hosts.text, *std::move(text));
  }
  RUNNEL_DO(plan_containerd(found, wanted, plan));
  return plan;
}

Result<void> check_effect(const std::string& before, const std::string& after, int major,
                          const std::string& certs) {
  RUNNEL_TRY(const auto old_values, toml_flat(before));
  RUNNEL_TRY(const auto new_values, toml_flat(after));
  const std::map<std::string, std::string> was(old_values.begin(), old_values.end());
  std::map<std::string, std::string> is(new_values.begin(), new_values.end());
  std::vector<std::string> changed;
  for (const auto& [key, value] : was) {
    const auto found = is.find(key);
    const bool same = found != is.end() && found->second == value;
    if (!same && !is_ours(key)) changed.push_back(key);
    if (found != is.end()) is.erase(found);
  }
  for (const auto& [key, value] : is) {
    if (!is_ours(key)) changed.push_back(key);
  }
  if (!changed.empty()) {
    return fail(Code::kConflict,
                "the change would also change {} of containerd's configuration: another imported "
                "file has the same section; put its keys into the main file first",
                fmt::join(changed, ", "));
  }
  if (text_at(after, {"proxy_plugins", "runnel", "address"}).empty()) {
    return fail(Code::kConflict,
                "containerd does not read the drop-in: is \"imports\" overridden?");
  }
  if (!has_cri(after)) return {};
  const auto snapshotter = text_at(after, cri_path(major) / "snapshotter");
  const auto path = text_at(after, registry_path(major) / "config_path");
  if (snapshotter == "runnel" && path.substr(0, path.find(':')) == certs) return {};
  return fail(Code::kConflict,
              "another file that containerd reads later sets snapshotter = {} and config_path = {}",
              quote(snapshotter), quote(path));
}

}  // namespace runnel::install
