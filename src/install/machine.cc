#include "install/machine.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/fd.h"
#include "base/quote.h"
#include "install/command.h"
#include "install/text_file.h"
#include "net/client.h"
#include "remote/hosts_file.h"

namespace runnel::install {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using snapshot::ContainerdClient;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr size_t kMaxAnswer = 64 << 20;
constexpr const char* kSnapshotLabel = "containerd.io/gc.ref.snapshot.runnel";

// The process that listens on a unix socket.
Result<pid_t> listener_of(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return fail(Code::kInvalid, "{} is too long for a socket's path", socket_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(Code::kUnavailable,
                "containerd: connect to {}: {}: does it run? Start it, or name its socket with "
                "--containerd-address",
                socket_path, std::strerror(errno));
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return fail_errno("SO_PEERCRED of {}", socket_path);
  return peer.pid;
}

// The --config of a command line, "" when it has none.
Result<std::string> config_argument(pid_t pid) {
  std::ifstream words(fmt::format("/proc/{}/cmdline", pid));  // its size is said to be 0
  std::string word;
  if (!std::getline(words, word, '\0'))
    return fail(Code::kUnavailable, "/proc/{}/cmdline cannot be read", pid);
  while (std::getline(words, word, '\0')) {
    if (word == "--config" || word == "-config" || word == "-c") {
      std::getline(words, word, '\0');
      return word;
    }
    if (word.starts_with("--config=")) return word.substr(9);
  }
  return std::string();
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

Result<std::string> program_of(pid_t pid) {
  std::error_code error;
  const auto path = fs::read_symlink(fmt::format("/proc/{}/exe", pid), error).string();
  if (error) return fail(Code::kUnavailable, "/proc/{}/exe: {}", pid, error.message());
  // Upgraded under the running process: the new program reads the configuration next time.
  const std::string deleted = " (deleted)";
  return path.ends_with(deleted) ? path.substr(0, path.size() - deleted.size()) : path;
}

// "1.6.20~ds1" or "v2.3.7+unknown".
Result<void> parse_version(Containerd& containerd) {
  std::string_view text = containerd.version;
  if (text.starts_with('v')) text.remove_prefix(1);
  const char* begin = text.data();  // NOLINT(bugprone-suspicious-stringview-data-usage): with end
  const char* end = begin + text.size();
  const auto major = std::from_chars(begin, end, containerd.major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.' &&
      std::from_chars(major.ptr + 1, end, containerd.minor).ec == std::errc()) {
    return {};
  }
  return fail(Code::kUnsupported, "containerd says that its version is {}",
              quote(containerd.version));
}

// Why the node could not go where the file says.
std::string refusal_of(const std::string& text, const std::string& path) {
  const auto parsed = remote::parse_hosts_file(text, path);
  return parsed ? std::string() : parsed.error().message;
}

Result<Found::Hosts> read_hosts(const std::string& certs, const Registry& registry) {
  Found::Hosts hosts;
  std::string directory = fmt::format("{}/{}", certs, registry.host);
  std::error_code error;
  for (const auto& name : host_directories(registry.host)) {
    const auto candidate = fmt::format("{}/{}", certs, name);
    if (!fs::is_directory(candidate, error)) continue;
    directory = candidate;
    break;
  }
  hosts.path = directory + "/hosts.toml";
  RUNNEL_TRY(hosts.text, read_if_there(hosts.path));
  if (hosts.text) {
    hosts.refused = refusal_of(*hosts.text, hosts.path);
    return hosts;
  }
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const auto name = entry.path().filename().string();
    if (!is_saved_name(name)) hosts.other_files.push_back(name);
  }
  const auto otherwise = certs + "/_default/hosts.toml";
  RUNNEL_TRY(hosts.default_text, read_if_there(otherwise));
  if (hosts.default_text) hosts.refused = refusal_of(*hosts.default_text, otherwise);
  return hosts;
}

Result<json::object> ask_node(const Options& options, const char* method, const char* path) {
  net::Client client;
  net::ClientRequest request(method, std::string("http://node") + path);
  request.unix_socket = options.control_socket;
  const auto answer = client.fetch(std::move(request), kMaxAnswer);
  if (!answer) return std::unexpected(answer.error().in(options.control_socket));
  if (answer->head.status != 200)
    return fail(Code::kUnsupported, "the node answers {} to {}: is it older than this program?",
                answer->head.status, path);
  boost::system::error_code error;
  const auto parsed = json::parse(std::string(as_text(answer->body)), error);
  if (error || !parsed.is_object()) return fail(Code::kInvalid, "the node's answer is no JSON");
  return parsed.get_object();
}

bool flag_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::vector<std::string> ctr_command(const Options& options, const Containerd& containerd) {
  return {containerd.ctr, "--address", options.containerd_socket, "--namespace",
          options.name_space};
}

}  // namespace

Result<Containerd> find_containerd(const Options& options) {
  RUNNEL_TRY(const auto pid, listener_of(options.containerd_socket));
  Containerd containerd;
  RUNNEL_TRY(containerd.version, ContainerdClient(options.containerd_socket).version());
  RUNNEL_DO(parse_version(containerd));
  if (containerd.major == 1 && containerd.minor < 6) {
    return fail(Code::kUnsupported, "containerd is {}: 1.6 or later is needed", containerd.version);
  }
  containerd.program = options.containerd_program;
  if (containerd.program.empty()) {
    RUNNEL_TRY(containerd.program, program_of(pid));
  }
  containerd.ctr = options.ctr;
  if (containerd.ctr.empty()) {
    const auto beside = (fs::path(containerd.program).parent_path() / "ctr").string();
    containerd.ctr = ::access(beside.c_str(), X_OK) == 0 ? beside : "ctr";
  }
  RUNNEL_TRY(const auto running_with, config_argument(pid));
  containerd.config = options.containerd_config;
  if (containerd.config.empty())
    containerd.config = running_with.empty() ? "/etc/containerd/config.toml" : running_with;
  if (!running_with.empty() && !same_file(running_with, containerd.config)) {
    return fail(Code::kConflict, "containerd runs with --config {}, not with {}", running_with,
                containerd.config);
  }
  return containerd;
}

Result<std::string> effective_configuration(const Containerd& containerd) {
  auto text = run_command({containerd.program, "--config", containerd.config, "config", "dump"},
                          minutes(1));
  if (!text) return std::unexpected(text.error().in("containerd does not read its configuration"));
  return text;
}

Result<Found> read_files(const Containerd& containerd, const std::string& certs_directory,
                         const std::vector<Registry>& registries) {
  Found found;
  found.major = containerd.major;
  found.minor = containerd.minor;
  found.config_path = containerd.config;
  found.certs_directory = certs_directory;
  RUNNEL_TRY(found.config_text, read_if_there(containerd.config));
  RUNNEL_TRY(found.effective, effective_configuration(containerd));
  RUNNEL_TRY(found.drop_in_text, read_if_there(drop_in_path(containerd.config)));
  for (const auto& registry : registries) {
    RUNNEL_TRY(found.hosts[registry.host], read_hosts(certs_directory, registry));
  }
  return found;
}

Result<void> restart_containerd(const Options& options) {
  const auto ran = run_shell(options.restart_command, minutes(3));
  if (!ran) return std::unexpected(ran.error());
  const auto version = ContainerdClient(options.containerd_socket, seconds(60)).version();
  if (!version) return std::unexpected(version.error().in("containerd did not come up"));
  return {};
}

Result<void> check_plugins(const Options& options, bool with_cri) {
  RUNNEL_TRY(const auto plugins, ContainerdClient(options.containerd_socket).plugins());
  const auto check = [&](std::string_view type, std::string_view id) -> Result<void> {
    const auto plugin = std::ranges::find_if(
        plugins, [&](const auto& each) { return each.type == type && each.id == id; });
    if (plugin == plugins.end())
      return fail(Code::kUnavailable, "containerd has no plugin {}.{}", type, id);
    if (plugin->error.empty()) return {};
    return fail(Code::kUnavailable, "containerd's plugin {}.{} did not start: {}", type, id,
                plugin->error);
  };
  RUNNEL_DO(check("io.containerd.snapshotter.v1", "runnel"));
  return with_cri ? check("io.containerd.grpc.v1", "cri") : Result<void>();
}

Result<bool> lets_map_owners(const Options& options, const Containerd& containerd) {
  if (containerd.major < 2 && containerd.minor < 7) return true;
  RUNNEL_TRY(const auto plugins, ContainerdClient(options.containerd_socket).plugins());
  return std::ranges::any_of(plugins, [](const auto& each) {
    return each.id == "runnel" && each.can(ContainerdClient::kRemapIds);
  });
}

// A line of `ctr images check`: REF TYPE DIGEST STATUS (N/N) SIZE UNPACKED.
Result<std::vector<Image>> images(const Options& options, const Containerd& containerd,
                                  const std::string& snapshotter) {
  auto argv = ctr_command(options, containerd);
  for (const char* word : {"images", "check", "--snapshotter"}) argv.emplace_back(word);
  argv.push_back(snapshotter);
  RUNNEL_TRY(const auto text, run_command(argv, minutes(5)));
  std::vector<Image> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string type;
    std::string status;
    Image image;
    words >> image.name >> type >> image.digest >> status;
    if (!words || !image.digest.starts_with("sha256:")) continue;
    image.complete = status == "complete";
    image.unpacked = line.find_last_not_of(" \t") != std::string::npos &&
                     line.substr(0, line.find_last_not_of(" \t") + 1).ends_with("true");
    found.push_back(std::move(image));
  }
  return found;
}

Result<void> unpack(const Options& options, const Containerd& containerd, const Image& image) {
  auto argv = ctr_command(options, containerd);
  for (const char* word : {"snapshots", "--snapshotter", "runnel", "unpack"})
    argv.emplace_back(word);
  argv.push_back(image.digest);
  const auto done = run_command(argv, minutes(30));
  if (!done) return std::unexpected(done.error().in(image.name));
  return {};
}

Result<Completion> completion(const Options& options, const char* method) {
  RUNNEL_TRY(const auto object, ask_node(options, method, "/complete"));
  Completion state{.running = flag_of(object, "running"),
                   .complete = flag_of(object, "complete"),
                   .bytes_missing = 0,
                   .error = text_of(object, "error")};
  if (const auto* missing = object.if_contains("bytes_missing"); missing != nullptr) {
    boost::system::error_code error;
    state.bytes_missing = missing->to_number<uint64_t>(error);
  }
  return state;
}

Result<std::string> node_engine(const Options& options) {
  RUNNEL_TRY(const auto status, ask_node(options, "GET", "/status"));
  return text_of(status, "engine");
}

Result<void> wait_for_node(const Options& options, Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto engine = node_engine(options);
    if (engine) return {};
    if (std::chrono::steady_clock::now() > deadline) return std::unexpected(engine.error());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Result<OurContainers> our_containers(const Options& options) {
  RUNNEL_DO(listener_of(options.containerd_socket));  // the client would wait for it to come
  const ContainerdClient client(options.containerd_socket);
  OurContainers found;
  RUNNEL_TRY(const auto namespaces, client.namespaces());
  for (const auto& name : namespaces) {
    RUNNEL_TRY(auto containers, client.containers(name));
    for (auto& each : containers) {
      if (each.snapshotter == "runnel") found.emplace_back(name, std::move(each));
    }
  }
  return found;
}

Result<void> release_layers(const Options& options) {
  const ContainerdClient client(options.containerd_socket, minutes(5));
  RUNNEL_TRY(const auto namespaces, client.namespaces());
  for (const auto& name : namespaces) RUNNEL_DO(client.remove_content_label(name, kSnapshotLabel));
  return namespaces.empty() ? Result<void>() : client.collect_garbage(namespaces.front());
}

}  // namespace runnel::install
