#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "base/log.h"
#include "cli/report.h"
#include "engine/holder.h"
#include "engine/pulse.h"
#include "net/metrics_server.h"
#include "node/config.h"
#include "node/credentials.h"
#include "node/listeners.h"
#include "node/node.h"
#include "roles.h"
#include "stop_signal.h"

namespace runnel {

namespace {

constexpr uint64_t kMaxKeyFile = 64 * 1024;

template <class To, class From>
void set(To& to, const std::optional<From>& flag) {
  if (flag) to = To(*flag);
}

Result<void> add_trusted_key(node::Config& config, const std::string& path) {
  RUNNEL_TRY(const auto pem, read_file(path, kMaxKeyFile));
  auto key = artifact::Key::parse_public(std::string(as_text(pem)));
  if (!key) return std::unexpected(key.error().in(path));
  config.trust.keys.push_back(*std::move(key));
  return {};
}

}  // namespace

Result<node::Config> node_config(const NodeFlags& flags) {
  node::Config config;
  RUNNEL_DO(node::load_config(config, flags.config));
  set(config.root, flags.root);
  set(config.mirror, flags.mirror);
  set(config.snapshotter_socket, flags.address);
  set(config.control_socket, flags.control);
  set(config.hosts_dir, flags.hosts_dir);
  set(config.background_fill, flags.background_fill);
  if (flags.cache_max_bytes) config.cache.max_bytes = flags.cache_max_bytes;
  if (flags.cache_min_free) config.cache.min_free = flags.cache_min_free;
  set(config.cache.reserve, flags.cache_reserve);
  set(config.read_ahead, flags.read_ahead);
  set(config.tell_starts, flags.tell_starts);
  set(config.direct_io, flags.direct_io);
  if (flags.read_timeout_s) config.read_timeout = std::chrono::seconds(*flags.read_timeout_s);
  if (flags.engine) {
    RUNNEL_TRY(config.way, engine::parse_way(*flags.engine));
  }
  if (flags.recovery) {
    RUNNEL_TRY(config.recovery, engine::parse_recovery(*flags.recovery));
  }
  for (const auto& host : flags.plain_http) config.registries[host].plain_http = true;
  if (!flags.streaming_registries.empty())
    RUNNEL_DO(node::set_streaming_registries(config, flags.streaming_registries));
  for (const auto& path : flags.trusted_keys) RUNNEL_DO(add_trusted_key(config, path));
  if (flags.metrics) {
    RUNNEL_DO(net::check_metrics_address(*flags.metrics));
    config.metrics = *flags.metrics;
  }
  RUNNEL_DO(set_log(config.log, flags.log));
  return config;
}

namespace {

Result<void> work(const NodeFlags& flags) {
  const StopSignal stop;
  RUNNEL_TRY(auto pulse, engine::Pulse::inherited());
  const engine::Breathing breathing(std::move(pulse));
  RUNNEL_TRY(auto config, node_config(flags));
  log::open(config.log);
  RUNNEL_DO(node::prepare_root(config));
  RUNNEL_TRY(auto handover, engine::Handover::inherited());
  return node::run_worker(config, std::move(handover), [&] { stop.wait(); });
}

// Where this program was started from, and where its next version will lie.
std::string path_of_program() {
  constexpr std::string_view kDeleted = " (deleted)";  // it was replaced already
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return error ? "/proc/self/exe" : path;
}

// The exit code. Not cli::report(): that waits for whoever reads standard error, and somebody may
// wait for this process.
int log_failure(const Error& error) {
  log::error("{}", error.message);
  return 1;
}

std::vector<std::string> command_of(std::vector<std::string> argv, std::string program,
                                    const char* more) {
  argv[0] = std::move(program);
  if (more != nullptr) argv.emplace_back(more);
  return argv;
}

}  // namespace

int run_node(const NodeFlags& flags, const std::vector<std::string>& argv) {
  ignore_broken_pipes();
  if (flags.worker) {
    const auto worked = work(flags);
    return worked ? 0 : log_failure(worked.error());
  }
  if (!flags.check_config) engine::block_signals_of_holder();
  auto config = node_config(flags);
  if (!config) return cli::report(config.error());
  if (const auto right = node::check(*config); !right) return cli::report(right.error());
  if (flags.check_config) return 0;
  if (::geteuid() != 0)
    return cli::report(Error(Code::kDenied, "a node mounts images for containerd: run it as root"));
  if (const auto made = node::prepare_memory(); !made) return cli::report(made.error());
  log::open(config->log);
  if (const auto made = node::prepare_root(*config); !made) return log_failure(made.error());
  auto handover = engine::Handover::inherited();
  if (!handover) return log_failure(handover.error());
  if (auto opened = node::open_listeners(*config, *handover); !opened) {
    return log_failure(opened.error());
  }
  const auto timeout = std::chrono::ceil<std::chrono::seconds>(config->read_timeout);
  const int code =
      engine::run_holder({.root = config->root,
                          .worker = command_of(argv, "/proc/self/exe", "--worker"),
                          .reload = command_of(argv, path_of_program(), nullptr),
                          .check = command_of(argv, path_of_program(), "--check-config"),
                          .read_timeout_s = static_cast<int>(timeout.count())},
                         *std::move(handover));
  node::remove_sockets(*config);
  return code;
}

}  // namespace runnel
