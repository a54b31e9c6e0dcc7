// The doctor on containerd: is it there, does it know the snapshotter, do pulls take the mirror.

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "base/fd.h"
#include "node/doctor_parts.h"
#include "remote/mirrored_hosts.h"
#include "snapshot/containerd_client.h"

namespace runnel::node {

namespace {

constexpr auto kPatience = std::chrono::seconds(5);
constexpr const char* kSnapshotterType = "io.containerd.snapshotter.v1";
constexpr const char* kSnapshotterName = "runnel";
constexpr const char* kSnapshotterSubject = "containerd: snapshotter";

Result<void> try_connect(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) return fail(Code::kInvalid, "{}: too long", socket);
  socket.copy(address.sun_path, socket.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("make a socket");
  // Limits connect(2) as well: nobody accepts where a worker stands still.
  const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("connect to {}", socket);
  }
  return {};
}

// "1.6.20~ds1" or "v2.3.7" is at least 1.`minor`.
bool is_at_least_1(int minor, const std::string& version) {
  const auto text = version.starts_with('v') ? version.substr(1) : version;
  const auto dot = text.find('.');
  if (std::atoi(text.c_str()) > 1) return true;
  return dot != std::string::npos && std::atoi(text.c_str() + dot + 1) >= minor;
}

Finding examine_version(const Result<std::string>& version) {
  constexpr auto kSubject = "containerd: version";
  if (!version) return bad(kSubject, version.error().message, "systemctl restart containerd");
  if (is_at_least_1(6, *version)) return good(kSubject, *version);
  return poor(kSubject, *version, "1.6 is the oldest that is tested");
}

Finding examine_snapshotter(const snapshot::ContainerdClient& client, const std::string& version,
                            const std::string& socket) {
  const auto plugins = client.plugins();
  if (plugins) return judge_snapshotter(*plugins, version, socket);
  return bad(kSnapshotterSubject, plugins.error().message, "systemctl restart containerd");
}

Finding examine_socket(const std::string& socket) {
  constexpr auto kSubject = "containerd: snapshotter's socket";
  if (auto connected = try_connect(socket); !connected) {
    return bad(kSubject, connected.error().message,
               "start the node (systemctl start runnel-node): every pull and container start needs "
               "it");
  }
  return good(kSubject, socket + " is answered");
}

}  // namespace

Finding judge_snapshotter(const std::vector<snapshot::ContainerdClient::Plugin>& plugins,
                          const std::string& version, const std::string& socket) {
  const auto found = std::ranges::find_if(plugins, [](const auto& plugin) {
    return plugin.type == kSnapshotterType && plugin.id == kSnapshotterName;
  });
  if (found == plugins.end()) {
    return bad(
        kSnapshotterSubject, "containerd knows no snapshotter \"runnel\"",
        fmt::format("runnel node install --registry HOST adds it; by hand: "
                    "[proxy_plugins.runnel] with type = \"snapshot\", address = \"{}\"{} "
                    "in /etc/containerd/config.toml, and restart containerd",
                    socket, is_at_least_1(7, version) ? ", capabilities = [\"remap-ids\"]" : ""));
  }
  if (!found->error.empty()) {
    return bad(kSnapshotterSubject, "runnel is registered, but failed: " + found->error,
               "start the node first (systemctl start runnel-node), then containerd (systemctl "
               "restart containerd)");
  }
  // Before 1.7 containerd asks for no such word.
  const bool maps = found->can(snapshot::ContainerdClient::kRemapIds) || !is_at_least_1(7, version);
  if (maps) return good(kSnapshotterSubject, "runnel is registered");
  return poor(kSnapshotterSubject,
              "runnel is registered without the capability remap-ids: for a pod with hostUsers: "
              "false containerd copies the whole image, and the pod sees wrong owners",
              "add capabilities = [\"remap-ids\"] to [proxy_plugins.runnel] (runnel node install "
              "does; containerd before 1.7.23 does not know it), and restart containerd");
}

Finding judge_hosts(const std::vector<std::string>& hosts, const std::string& directory,
                    const std::string& mirror) {
  constexpr auto kSubject = "containerd: hosts.toml";
  if (hosts.empty()) {
    return poor(kSubject,
                fmt::format("no registry below {} goes through the mirror {}", directory, mirror),
                fmt::format("runnel node install --registry HOST names one; by hand: "
                            "{}/HOST/hosts.toml with server = \"https://HOST\" and "
                            "[host.\"http://{}\"] capabilities = [\"pull\", \"resolve\"]",
                            directory, mirror));
  }
  const auto list = fmt::format("{}", fmt::join(hosts, ", "));
  if (std::ranges::find(hosts, "_default") != hosts.end()) {
    return poor(kSubject, "every registry goes through the mirror: " + list,
                fmt::format("name the registries that have artifacts (runnel node install "
                            "--registry HOST), and remove it from {}/_default/hosts.toml",
                            directory));
  }
  return good(kSubject, "through the mirror: " + list);
}

Findings examine_containerd(const DoctorOptions& options) {
  Findings findings;
  if (auto connected = try_connect(options.containerd_socket); !connected) {
    findings.push_back(
        bad("containerd: socket", connected.error().message,
            "systemctl start containerd, or say where it is with --containerd-address"));
  } else {
    const snapshot::ContainerdClient client(options.containerd_socket, kPatience);
    const auto version = client.version();
    findings.push_back(examine_version(version));
    findings.push_back(
        examine_snapshotter(client, version.value_or(""), options.config.snapshotter_socket));
  }
  findings.push_back(examine_socket(options.config.snapshotter_socket));
  const auto& config = options.config;
  findings.push_back(judge_hosts(remote::mirrored_hosts(config.hosts_dir, config.mirror),
                                 config.hosts_dir, config.mirror));
  return findings;
}

}  // namespace runnel::node
