#include "command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <span>

#include "api_commands.h"
#include "cli/cli.h"
#include "cli/registry_login.h"
#include "cli/report.h"
#include "completion_command.h"
#include "convert/worker_main.h"
#include "install_commands.h"
#include "node/config.h"
#include "registry/config.h"
#include "registry_commands.h"
#include "roles.h"
#include "standard_output.h"

namespace runnel {

namespace {

void add_metrics_flag(CLI::App& command, std::optional<std::string>& metrics,
                      const std::string& otherwise) {
  command
      .add_option("--metrics", metrics,
                  "ADDR:PORT of the page of metrics, port 0 takes a free one; or \"off\" [" +
                      otherwise + "]")
      ->envname("RUNNEL_METRICS");
}

void add_log_flags(CLI::App& command, LogFlags& flags) {
  command.add_option("--log-level", flags.level, "lines of the log below are dropped [info]")
      ->envname("RUNNEL_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  command
      .add_option("--log-format", flags.format,
                  "auto is the journal where systemd connects standard error to it, else text "
                  "[auto]")
      ->envname("RUNNEL_LOG_FORMAT")
      ->check(CLI::IsMember({"auto", "text", "json", "journal"}));
}

void add_registry(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("registry", "serve an OCI registry");
  command->footer(
      "Example: runnel registry --data /var/lib/runnel/registry --listen 127.0.0.1:5000");
  auto flags = std::make_shared<RegistryFlags>();
  const registry::Config defaults;
  command
      ->add_option("--data", flags->data,
                   fmt::format("directory of the blobs and the database [{}]", defaults.data))
      ->envname("RUNNEL_DATA");
  command
      ->add_option("--listen", flags->listen,
                   fmt::format("ADDR:PORT; port 0 takes a free one [{}:{}]", defaults.address,
                               defaults.port))
      ->envname("RUNNEL_LISTEN");
  command->add_option("--config", flags->config, "TOML file");
  command->add_flag("--check-config", flags->check_config, "only say whether the file is right");
  add_metrics_flag(*command, flags->metrics, registry::kMetricsAddress);
  add_log_flags(*command, flags->log);
  command->require_subcommand(0, 1);
  add_registry_commands(*command, action);
  command->callback([&action, command, flags] {
    if (command->get_subcommands().empty()) action = [flags] { return run_registry(*flags); };
  });
}

// --control or --root of a command that asks the node. Either goes over the environment: as an
// option's `envname` the variable would count as given, and exclude --root.
void add_control_flags(CLI::App& command, std::string& into) {
  if (const char* set = std::getenv("RUNNEL_CONTROL"); set != nullptr && *set != '\0') into = set;
  auto* control =
      command.add_option("--control", into, "the node's control socket (Env:RUNNEL_CONTROL)")
          ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--root", [&into](const std::string& root) { into = root + "/control.sock"; },
          "short for --control DIR/control.sock; a node listens there only if it was told to")
      ->type_name("DIR")
      ->excludes(control);
}

void add_check_registry(CLI::App& node, Action& action) {
  auto* command = node.add_subcommand(
      "check-registry", "what has to work before an image of a repository streams, step by step");
  command->footer("Example: runnel node check-registry registry.example/team/app:v1");
  auto options = std::make_shared<cli::CheckRegistryOptions>();
  command->add_option("REFERENCE", options->reference, "HOST/REPO[:TAG]")->required();
  add_control_flags(*command, options->node.control);
  command->add_flag("--json", options->node.json, "print JSON");
  command->callback(
      [&action, options] { action = [options] { return cli::node_check_registry(*options); }; });
}

// With --name the login is a person's; with HOST alone it is the node's.
void add_login(CLI::App& app, Action& action) {
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*of_node)(const cli::LoginOptions&),
                       int (*of_person)(const cli::ApiOptions&)) {
    auto* command = app.add_subcommand(name, what);
    command->footer("Example: runnel " + example);
    auto node = std::make_shared<cli::LoginOptions>();
    auto person = std::make_shared<cli::ApiOptions>();
    auto* host = command->add_option(
        "HOST", node->host, "registry, with its port if it has one: for this machine's node");
    add_control_flags(*command, node->control);
    add_login_flags(*command, *person);
    command->callback([=, &action] {
      if (host->count() == 0) {
        action = [=] { return of_person(*person); };
        return;
      }
      node->user = person->user;
      action = [=] { return of_node(*node); };
    });
  };
  add("login",
      "keep a user and password for a registry: --name NAME for you, HOST for this machine's node",
      "login -n registry.example -u alice    (for the node: runnel login registry.example -u robot "
      "--password-stdin < password-file)",
      cli::login, cli::registry_login);
  add("logout", "forget them: --name NAME for you, HOST for this machine's node",
      "logout -n registry.example", cli::logout, cli::registry_logout);
}

void add_node_image_command(CLI::App& node, Action& action, const char* name, const char* what,
                            int (*run)(const cli::NodeImageOptions&)) {
  auto* command = node.add_subcommand(name, what);
  command->footer(fmt::format("Example: runnel node {} registry.example/team/app:v1", name));
  auto options = std::make_shared<cli::NodeImageOptions>();
  command->add_option("IMAGE", options->image, "as containerd names it: HOST/REPO:TAG")->required();
  add_control_flags(*command, options->control);
  command->add_option("--containerd-address,--address", options->address, "containerd's socket")
      ->envname("CONTAINERD_ADDRESS")
      ->capture_default_str();
  command->add_option("--namespace", options->name_space, "containerd's namespace")
      ->envname("CONTAINERD_NAMESPACE")
      ->capture_default_str();
  command->callback([&action, options, run] { action = [options, run] { return run(*options); }; });
}

void add_why(CLI::App& node, Action& action) {
  auto* command = node.add_subcommand(
      "why", "where the time of a container's start went: each request, chunk, file and wait");
  command->footer(
      "Example: runnel node why registry.example/team/app:v1 --until 2.5 -o start.html");
  auto options = std::make_shared<cli::NodeWhyOptions>();
  command
      ->add_option(
          "NAME", options->name,
          "a container's ID or its beginning (four letters at least), or an image as it was "
          "pulled")
      ->required();
  command->add_option("-o,--output-file", options->output_file,
                      "write a picture (.svg, or .html, which zooms) or .json to this file");
  command->add_option("--output", options->output, "json prints all that is known")
      ->check(CLI::IsMember({"text", "json"}));
  command
      ->add_option("--until", options->until_s,
                   "seconds after the first request at which to cut: when the workload was "
                   "ready [the last new read before two quiet seconds]")
      ->check(CLI::Range(0.001, 86400.0));
  command->add_option("--rows", options->rows, "bars of the text, at most")
      ->check(CLI::Range(40, 2000))
      ->capture_default_str();
  add_control_flags(*command, options->control);
  command->callback([&action, options] { action = [options] { return cli::node_why(*options); }; });
}

void add_node_commands(CLI::App& node, Action& action) {
  const auto add = [&](const char* name, const char* what, int (*run)(const cli::NodeOptions&),
                       bool of_image = false) {
    auto* command = node.add_subcommand(name, what);
    command->footer(std::string("Example: runnel node ") + name +
                    (of_image ? " 127.0.0.1:5000/team/app:v1" : "") +
                    " --control /run/runnel/control.sock");
    auto options = std::make_shared<cli::NodeOptions>();
    if (of_image) command->add_option("IMAGE", options->image, "as it was pulled")->required();
    add_control_flags(*command, options->control);
    command->add_flag("--json", options->json, "print JSON");
    command->callback(
        [&action, options, run] { action = [options, run] { return run(*options); }; });
    return std::pair(command, options);
  };
  const auto [status, status_options] =
      add("status", "what the node streams, and why not", cli::node_status);
  status->footer("Example: runnel node status --layers");
  auto* layers = status->add_flag("--layers", status_options->layers, "each layer of each image");
  status
      ->add_flag("--containers", status_options->containers, "the containers instead of the images")
      ->excludes(layers);
  add("profile",
      "what an image's start read, for runnel convert --profile; without a digest, of the "
      "repository's image that streams since last",
      cli::node_profile, true);
  add("clear", "empty the cache of all that no container has mounted", cli::node_clear);
  add_why(node, action);
  add_install_commands(node, action);
  add_check_registry(node, action);
  add_node_image_command(node, action, "materialize",
                         "bring a streamed image's layers into containerd, for export and push",
                         cli::node_materialize);
  add_node_image_command(node, action, "repull",
                         "make an image stream that was unpacked the ordinary way",
                         cli::node_repull);
}

// Where a node and what it talks to are.
void add_place_flags(CLI::App& command, NodeFlags& flags) {
  const node::Config defaults;
  const auto text = [&](const char* name, std::optional<std::string>& into, const char* environment,
                        const std::string& what, const std::string& otherwise) {
    return command.add_option(name, into, what + " [" + otherwise + "]")->envname(environment);
  };
  command
      .add_option("--config", flags.config,
                  std::string("TOML file [") + node::kConfigPath + ", if it is there]")
      ->envname("RUNNEL_CONFIG");
  text("--root", flags.root, "RUNNEL_ROOT", "directory of cache, images and snapshots",
       defaults.root);
  text("--mirror", flags.mirror, "RUNNEL_MIRROR", "ADDR:PORT of the mirror, a loopback address",
       defaults.mirror);
  text("--address", flags.address, "RUNNEL_ADDRESS", "socket of the snapshotter, for containerd",
       defaults.snapshotter_socket);
  text("--control", flags.control, "RUNNEL_CONTROL", "control socket", defaults.control_socket);
  text("--hosts-dir", flags.hosts_dir, "RUNNEL_HOSTS_DIR",
       "directory of containerd's hosts.toml files", defaults.hosts_dir);
  command.add_option("--plain-http", flags.plain_http, "host that is reached by plain HTTP")
      ->envname("RUNNEL_PLAIN_HTTP")
      ->delimiter(',');
}

void add_node(CLI::App& app, Action& action, const std::vector<std::string>& argv) {
  auto* command = app.add_subcommand("node", "serve containerd on this machine");
  command->footer("Example: runnel node --config /etc/runnel/node.toml");
  auto flags = std::make_shared<NodeFlags>();
  const node::Config defaults;
  add_place_flags(*command, *flags);
  command->add_flag("--check-config", flags->check_config, "only say whether the file is right");
  command->add_option("--engine", flags->engine, "how images are mounted [auto]")
      ->envname("RUNNEL_ENGINE")
      ->check(CLI::IsMember({"auto", "erofs-file", "erofs-loop", "fuse"}));
  command
      ->add_option("--recovery", flags->recovery,
                   "how reads outlive the worker: the kernel sends them again, or they are in "
                   "shared memory [auto]")
      ->envname("RUNNEL_RECOVERY")
      ->check(CLI::IsMember({"auto", "resend", "shared-memory"}));
  command
      ->add_option("--streaming-registry", flags->streaming_registries,
                   "host whose artifacts are used without a signature; \"loopback\" is every "
                   "loopback host [loopback]")
      ->envname("RUNNEL_STREAMING_REGISTRIES")
      ->delimiter(',');
  command
      ->add_option("--trusted-key", flags->trusted_keys,
                   "PEM file of an Ed25519 public key whose artifacts are used")
      ->envname("RUNNEL_TRUSTED_KEYS")
      ->delimiter(',');
  // Not add_flag(): of an optional it makes "off" when nobody said anything.
  const auto flag = [&](const char* names, std::optional<bool>& into, const char* environment,
                        const char* what) {
    command->add_flag_function(
               names, [&into](int64_t times) { into = times > 0; }, what)
        ->envname(environment);
  };
  flag("--background-fill,!--no-background-fill", flags->background_fill, "RUNNEL_BACKGROUND_FILL",
       "fetch what no one has read yet [on]");
  flag("--read-ahead,!--no-read-ahead", flags->read_ahead, "RUNNEL_READ_AHEAD",
       "fetch what lies around a first read, where the registry is far [on]");
  flag("--tell-starts,!--no-tell-starts", flags->tell_starts, "RUNNEL_TELL_STARTS",
       "tell an image's registry which parts of it a start reads, if it is Runnel's [on]");
  flag("--direct-io,!--no-direct-io", flags->direct_io, "RUNNEL_DIRECT_IO",
       "read images that are mounted from complete layers past those files' page cache: half the "
       "memory, slower cold reads of small files [on below 4 GiB of memory]");
  command
      ->add_option(
          "--read-timeout", flags->read_timeout_s,
          fmt::format("seconds after which a read fails [{}]",
                      std::chrono::ceil<std::chrono::seconds>(defaults.read_timeout).count()))
      ->envname("RUNNEL_READ_TIMEOUT")
      ->check(CLI::Range(1u, 3600u));
  add_metrics_flag(*command, flags->metrics, defaults.metrics);
  add_log_flags(*command, flags->log);
  const auto bytes = [&](const char* name, std::optional<uint64_t>& into, const char* environment,
                         const char* what) {
    command->add_option(name, into, what)->envname(environment)->transform(CLI::AsSizeValue(false));
  };
  bytes("--cache-max-bytes", flags->cache_max_bytes, "RUNNEL_CACHE_MAX_BYTES",
        "bytes the cache may have before filling stops and unmounted layers go "
        "[20 % of the file system]");
  bytes("--cache-min-free", flags->cache_min_free, "RUNNEL_CACHE_MIN_FREE",
        "bytes to leave free, likewise [20 % of the file system]");
  bytes("--cache-reserve", flags->cache_reserve, "RUNNEL_CACHE_RESERVE",
        "free bytes below which reads of what is not cached fail [512 MiB]");
  command->add_flag("--worker", flags->worker)->group("");
  command->require_subcommand(0, 1);
  add_node_commands(*command, action);
  command->callback([&action, command, flags, argv] {
    if (command->get_subcommands().empty()) {
      action = [flags, argv] { return run_node(*flags, argv); };
    }
  });
}

void add_convert(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("convert", "make an image's streaming artifact");
  command->footer("Example: runnel convert 127.0.0.1:5000/team/app:v1");
  auto options = std::make_shared<cli::ConvertOptions>();
  command->add_option("REFERENCE", options->reference, "HOST/REPO:TAG or HOST/REPO@DIGEST")
      ->required();
  add_registry_flags(*command, options->registry);
  command->add_option("--work-directory", options->work_directory, "where layers are laid out")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--threads", options->threads, "of compression")
      ->check(CLI::Range(1u, 256u))
      ->capture_default_str();
  command->add_option("--key", options->key_file,
                      "PEM file of an Ed25519 private key: sign with it");
  command->add_option("--hot-files", options->hot_files,
                      "file with one path of the image a line: their chunks go into the hot pack");
  command->add_option("--profile", options->profile,
                      "file from `runnel node profile`: its chunks go into the hot pack");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([&action, options] { action = [options] { return cli::convert(*options); }; });
}

void add_image_command(CLI::App& app, Action& action, const char* name, const char* what,
                       const char* example, bool path_required, bool has_path,
                       int (*run)(const cli::ImageOptions&)) {
  auto* command = app.add_subcommand(name, what);
  command->footer(std::string("Example: ") + example);
  auto options = std::make_shared<cli::ImageOptions>();
  command->add_option("REFERENCE", options->reference, "HOST/REPO:TAG or HOST/REPO@DIGEST")
      ->required();
  if (has_path) {
    command->add_option("PATH", options->path, "path in the image")->required(path_required);
  }
  add_registry_flags(*command, options->registry);
  if (!path_required) command->add_flag("--json", options->json, "print JSON");  // a file is a file
  command->callback([&action, options, run] { action = [options, run] { return run(*options); }; });
}

void add_pull(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("pull", "ask containerd for an image, as kubelet does");
  command->footer("Example: runnel pull 127.0.0.1:5000/team/app:v1");
  auto options = std::make_shared<cli::PullOptions>();
  command->add_option("IMAGE", options->image, "HOST/REPO:TAG or HOST/REPO@DIGEST")->required();
  command->add_option("--containerd-address,--address", options->address, "containerd's socket")
      ->envname("CONTAINERD_ADDRESS")
      ->capture_default_str();
  command->add_option("--timeout", options->timeout_s, "seconds")->capture_default_str();
  auto* user = command->add_option("-u,--user", options->user, "user name, as of a pod's secret");
  auto* secret =
      command->add_flag("--password-stdin")->description("read its password from standard input");
  user->needs(secret);
  secret->needs(user);
  command->callback([&action, options] { action = [options] { return cli::pull(*options); }; });
}

void add_doctor(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand(
      "doctor",
      "try what a node needs of this machine, and say what to do; exit code 1 for a FAIL");
  command->footer("Example: runnel doctor --registry registry.example:5000");
  auto flags = std::make_shared<DoctorFlags>();
  add_place_flags(*command, flags->node);
  command->add_option("--containerd-address,--containerd", flags->containerd, "containerd's socket")
      ->envname("CONTAINERD_ADDRESS")
      ->capture_default_str();
  command->add_option("--registry", flags->registries,
                      "host to reach, besides those that go through the mirror");
  command->add_flag("--json", flags->json, "print JSON");
  command->callback([&action, flags] { action = [flags] { return run_doctor(*flags); }; });
}

// Where one is written that there is not, CLI11 says only that a subcommand is missing. "" when
// there is nothing of the kind.
std::string unknown_command(const CLI::App& app, std::span<const std::string> arguments) {
  const auto* at = &app;
  std::string path = app.get_name();
  for (const auto& argument : arguments.subspan(1)) {
    const auto next =
        at->get_subcommands([&](const CLI::App* each) { return each->get_name() == argument; });
    if (next.empty()) {
      if (at->get_require_subcommand_min() == 0 || argument.starts_with('-')) return {};
      return fmt::format("there is no command `{} {}`: `{} --help` lists those that there are",
                         path, argument, path);
    }
    path += " " + argument;
    at = next.front();
  }
  return {};
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("Runnel starts containers before their image has arrived.", "runnel");
  app.footer("Example: runnel convert 127.0.0.1:5000/team/app:v1");
  app.require_subcommand(1);
  const std::vector<std::string> arguments(argv, argv + argc);
  Action action;
  add_registry(app, action);
  add_node(app, action, arguments);
  add_convert(app, action);
  // What a registry starts for each layer; no command for people.
  app.add_subcommand("convert-worker", "")->group("")->callback([&action] {
    action = [] { return convert::run_worker(); };
  });
  add_image_command(app, action, "inspect", "what is in an image's artifact",
                    "runnel inspect 127.0.0.1:5000/team/app:v1", false, false, cli::inspect);
  add_image_command(app, action, "ls", "list a directory of a remote image",
                    "runnel ls 127.0.0.1:5000/team/app:v1 /etc", false, true, cli::ls);
  add_image_command(app, action, "cat", "print a file of a remote image",
                    "runnel cat 127.0.0.1:5000/team/app:v1 /etc/os-release", true, true, cli::cat);
  add_verify_command(app, action);
  add_pull(app, action);
  add_login(app, action);
  add_streaming_commands(app, action);
  add_repository_commands(app, action);
  add_manifest_commands(app, action);
  add_token_commands(app, action);
  add_scope_map_commands(app, action);
  add_role_commands(app, action);
  add_config_commands(app, action);
  add_check_health_command(app, action);
  add_doctor(app, action);
  app.set_version_flag("--version", "runnel " RUNNEL_VERSION);
  auto* version = app.add_subcommand("version", "print the version");
  version->footer("Example: runnel version");
  version->callback([&action] {
    action = [] {
      std::puts("runnel " RUNNEL_VERSION);
      return 0;
    };
  });
  add_completion_command(app, action);
  if (const auto wrong = unknown_command(app, arguments); !wrong.empty()) {
    const cli::Outcome<int> nothing = cli::usage_error("{}", wrong);
    return cli::report(nothing.error());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return with_output_checked([&] { return app.exit(problem) == 0 ? 0 : 2; });
  }
  return with_output_checked(action);
}

}  // namespace runnel
