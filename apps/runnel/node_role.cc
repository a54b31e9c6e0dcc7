#include "base/fd.h"
#include "base/log.h"
#include "cli/report.h"
#include "engine/holder.h"
#include "node/node.h"
#include "roles.h"
#include "stop_signal.h"

namespace runnel {

namespace {

constexpr uint64_t kMaxKeyFile = 64 * 1024;

Result<node::Config> node_config(const NodeFlags& flags) {
  node::Config config;
  config.root = flags.root;
  config.mirror = flags.mirror;
  config.snapshotter_socket = flags.address;
  config.control_socket = flags.control;
  config.background_fill = flags.background_fill;
  config.read_timeout = std::chrono::seconds(flags.read_timeout_s);
  config.plain_http = flags.plain_http;
  config.trust.streaming_registries = {flags.streaming_registries.begin(),
                                       flags.streaming_registries.end()};
  RUNNEL_TRY(config.way, engine::parse_way(flags.engine));
  for (const auto& path : flags.trusted_keys) {
    RUNNEL_TRY(const auto pem, read_file(path, kMaxKeyFile));
    auto key = artifact::Key::parse_public(std::string(as_text(pem)));
    if (!key) return std::unexpected(key.error().in(path));
    config.trust.keys.push_back(*std::move(key));
  }
  return config;
}

Result<void> work(const NodeFlags& flags) {
  const StopSignal stop;
  RUNNEL_TRY(const auto config, node_config(flags));
  RUNNEL_TRY(auto fuse, engine::inherited_fuse_fd());
  return node::run_worker(config, std::move(fuse), [&] { stop.wait(); });
}

}  // namespace

int run_node(const NodeFlags& flags, const std::vector<std::string>& argv) {
  if (flags.worker) {
    const auto worked = work(flags);
    return worked ? 0 : cli::report(worked.error());
  }
  if (const auto config = node_config(flags); !config) return cli::report(config.error());
  std::vector<std::string> worker = argv;
  worker[0] = "/proc/self/exe";
  worker.push_back("--worker");
  return engine::run_holder({.root = flags.root, .worker = std::move(worker)});
}

}  // namespace runnel
