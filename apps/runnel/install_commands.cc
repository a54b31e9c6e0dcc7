#include "install_commands.h"

#include <memory>
#include <optional>

#include "cli/cli.h"
#include "cli/report.h"
#include "node/config.h"

namespace runnel {

namespace {

// What is given on the command line goes over the node's configuration file, as for the node.
struct Flags {
  std::string config;
  std::optional<std::string> root;
  std::optional<std::string> address;
  std::optional<std::string> control;
  std::optional<std::string> mirror;
  install::Options options;
};

Result<install::Options> options_of(const Flags& flags) {
  node::Config config;
  RUNNEL_DO(node::load_config(config, flags.config));
  auto options = flags.options;
  options.node_root = flags.root.value_or(config.root);
  options.snapshotter_socket = flags.address.value_or(config.snapshotter_socket);
  options.control_socket = flags.control.value_or(config.control_socket);
  options.mirror = flags.mirror.value_or(config.mirror);
  for (const auto& [host, settings] : config.registries) options.node_registries.push_back(host);
  return options;
}

void add_common(CLI::App& command, Flags& flags) {
  auto& options = flags.options;
  command
      .add_option("--config", flags.config,
                  std::string("the node's TOML file [") + node::kConfigPath + ", if it is there]")
      ->envname("RUNNEL_CONFIG");
  command.add_option("--root", flags.root, "the node's root directory")->envname("RUNNEL_ROOT");
  command.add_option("--address", flags.address, "the node's snapshotter socket")
      ->envname("RUNNEL_ADDRESS");
  command.add_option("--control", flags.control, "the node's control socket")
      ->envname("RUNNEL_CONTROL");
  command.add_option("--containerd-address", options.containerd_socket, "containerd's socket")
      ->envname("CONTAINERD_ADDRESS")
      ->capture_default_str();
  command.add_option("--restart-command", options.restart_command, "restarts containerd")
      ->capture_default_str();
  command.add_option("--stop-command", options.stop_command, "stops the node")
      ->capture_default_str();
  command.add_option("--fail-at", options.fail_at)->group("");
}

void set_action(CLI::App* command, std::function<int()>& action,
                const std::shared_ptr<Flags>& flags, int (*run)(const install::Options&)) {
  command->callback([&action, flags, run] {
    action = [flags, run] {
      const auto options = options_of(*flags);
      return options ? run(*options) : cli::report(options.error());
    };
  });
}

void add_install(CLI::App& node, std::function<int()>& action) {
  auto* command = node.add_subcommand("install", "put the node between containerd and registries");
  command->footer("Example: runnel node install --registry registry.example.com --dry-run");
  const auto flags = std::make_shared<Flags>();
  auto& options = flags->options;
  add_common(*command, *flags);
  command->add_option("--mirror", flags->mirror, "ADDR:PORT of the node's mirror")
      ->envname("RUNNEL_MIRROR");
  command->add_option("--registry", options.registries,
                      "HOST[:PORT] whose images shall stream; http://HOST for one without TLS");
  command->add_flag("--dry-run", options.dry_run, "only show what would change");
  command->add_option("--containerd-config", options.containerd_config,
                      "containerd's main file [the one that it runs with]");
  command->add_option("--containerd-program", options.containerd_program,
                      "containerd's program [the one that answers]");
  command->add_option("--ctr", options.ctr, "containerd's client [beside its program]");
  command->add_option("--certs-dir", options.certs_dir,
                      "directory of the hosts.toml files [as containerd is configured]");
  command
      ->add_option("--start-command", options.start_command, "starts the node if it does not run")
      ->capture_default_str();
  command->add_option("--verify-image", options.verify_image,
                      "image to pull at the end [one of --registry that is here]");
  command->add_option("--namespace", options.name_space, "whose images are unpacked")
      ->capture_default_str();
  command->add_flag("--unpack,!--no-unpack", options.unpack,
                    "unpack the images that are here into the snapshotter [on]");
  set_action(command, action, flags, cli::node_install);
}

void add_uninstall(CLI::App& node, std::function<int()>& action) {
  auto* command = node.add_subcommand(
      "uninstall", "restore what install changed; running containers go on from local files");
  command->footer("Example: runnel node uninstall");
  const auto flags = std::make_shared<Flags>();
  add_common(*command, *flags);
  command->add_flag("--force", flags->options.force,
                    "over later edits of the files, and although a registry is away or containerd "
                    "does not answer");
  command->add_flag("--purge", flags->options.purge, "remove what the node keeps, too");
  set_action(command, action, flags, cli::node_uninstall);
}

}  // namespace

void add_install_commands(CLI::App& node, std::function<int()>& action) {
  add_install(node, action);
  add_uninstall(node, action);
}

}  // namespace runnel
