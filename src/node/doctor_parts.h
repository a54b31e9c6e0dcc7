// What doctor.cc puts together. Internal to the doctor.
#pragma once

#include "cache/budget.h"
#include "node/doctor.h"
#include "snapshot/containerd_client.h"

namespace runnel::node {

inline Finding good(std::string subject, std::string found) {
  return {.level = Finding::Level::kOk,
          .subject = std::move(subject),
          .found = std::move(found),
          .advice = {}};
}
inline Finding poor(std::string subject, std::string found, std::string advice) {
  return {.level = Finding::Level::kWarning,
          .subject = std::move(subject),
          .found = std::move(found),
          .advice = std::move(advice)};
}
inline Finding bad(std::string subject, std::string found, std::string advice) {
  return {.level = Finding::Level::kFailure,
          .subject = std::move(subject),
          .found = std::move(found),
          .advice = std::move(advice)};
}

// The directory itself, or the nearest above it that exists.
std::string existing_part(const std::string& directory);

Findings examine_permissions();
Findings examine_disk(const Config& config);
// Mounts below a scratch directory next to the node's root; needs root.
Findings examine_kernel(const Config& config);
Findings examine_containerd(const DoctorOptions& options);
// What containerd's list of plugins says of the snapshotter. `version` is containerd's, "" when it
// said none; `socket` the snapshotter's.
Finding judge_snapshotter(const std::vector<snapshot::ContainerdClient::Plugin>& plugins,
                          const std::string& version, const std::string& socket);
// What the names of remote::mirrored_hosts() below `directory` say.
Finding judge_hosts(const std::vector<std::string>& hosts, const std::string& directory,
                    const std::string& mirror);
Findings examine_node(const Config& config);
// What a registry's answer to GET `url`/v2/ says, or that there was none.
Finding judge_registry(const std::string& host, const std::string& url, const Result<int>& status);
// As the node's cache judges the room below its root, which `found` describes.
Finding judge_space(const std::string& found, const cache::Budget::Status& status);
Findings examine_registries(const DoctorOptions& options);

}  // namespace runnel::node
