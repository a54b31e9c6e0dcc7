// The doctor on the node's own sockets, and on the registries that it pulls from.

#include <algorithm>
#include <boost/json.hpp>

#include "net/client.h"
#include "node/doctor_parts.h"
#include "remote/hosts.h"
#include "remote/mirrored_hosts.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr size_t kMaxAnswer = 64 << 20;
constexpr auto kPatience = std::chrono::seconds(10);

net::ClientRequest request_for(const std::string& url) {
  net::ClientRequest request("GET", url);
  request.connect_timeout = kPatience;
  request.stall_timeout = kPatience;
  return request;
}

// The member "engine" of a node's status; empty when the answer is none.
std::string engine_in(const net::BufferedResponse& answer) {
  boost::system::error_code error;
  const auto parsed = json::parse(std::string(as_text(answer.body)), error);
  if (error || !parsed.is_object()) return {};
  const auto* engine = parsed.get_object().if_contains("engine");
  return engine == nullptr || !engine->is_string() ? "" : std::string(engine->get_string());
}

Finding examine_control(net::Client& client, const std::string& socket) {
  constexpr auto kSubject = "node: control socket";
  auto request = request_for("http://node/status");
  request.unix_socket = socket;
  const auto answer = client.fetch(std::move(request), kMaxAnswer);
  if (!answer) {
    return bad(kSubject, "nobody answers on " + socket,
               "start the node (systemctl start runnel-node), or say where its socket is with "
               "--control");
  }
  const auto engine = engine_in(*answer);
  if (!engine.empty()) return good(kSubject, "the node runs, engine " + engine);
  return bad(kSubject, fmt::format("{} is answered by something else", socket),
             "stop what listens there (ss -xlp says what it is), or say another socket with "
             "--control");
}

Finding examine_mirror(net::Client& client, const std::string& mirror) {
  constexpr auto kSubject = "mirror";
  const auto answer = client.fetch(request_for("http://" + mirror + "/status"), kMaxAnswer);
  if (!answer) {
    return bad(
        kSubject, answer.error().message,
        "start the node (systemctl start runnel-node); without the mirror containerd asks the "
        "registries directly, and nothing streams");
  }
  if (!engine_in(*answer).empty()) return good(kSubject, mirror + " is answered by a node");
  return bad(kSubject, fmt::format("something else listens on {}", mirror),
             "stop it (ss -tlp says what it is), or give the node another port with --mirror and "
             "install its registries again");
}

Finding examine_registry(net::Client& client, const remote::Hosts& hosts, const std::string& host) {
  const auto subject = "registry: " + host;
  const auto endpoint = hosts.endpoint(host);
  if (endpoint.refused) {
    return bad(subject, endpoint.refused->message,
               "write that file so that the node can follow it, or take the mirror out of it: "
               "nothing streams, and containerd asks by the file alone");
  }
  auto request = request_for(endpoint.url + "/v2/");
  request.tls = endpoint.tls;
  const auto answer = client.fetch(std::move(request), kMaxAnswer);
  if (!answer) return judge_registry(host, endpoint.url, std::unexpected(answer.error()));
  return judge_registry(host, endpoint.url, answer->head.status);
}

}  // namespace

Finding judge_registry(const std::string& host, const std::string& url, const Result<int>& status) {
  const auto subject = "registry: " + host;
  if (!status) {
    return bad(subject, status.error().message,
               fmt::format("check name, port, proxy and certificates in its hosts.toml, or in "
                           "[registry.\"{}\"] of node.toml: plain_http = true for one without TLS",
                           host));
  }
  if (*status == 200) return good(subject, "answers");
  if (*status == 401) return good(subject, "answers, and wants credentials");
  return bad(subject, fmt::format("{}/v2/ answers {}", url, *status),
             "an OCI registry answers 200 or 401: is the server in its hosts.toml right?");
}

Findings examine_node(const Config& config) {
  net::Client client;
  return {examine_control(client, config.control_socket), examine_mirror(client, config.mirror)};
}

Findings examine_registries(const DoctorOptions& options) {
  auto names = remote::mirrored_hosts(options.config.hosts_dir, options.config.mirror);
  std::erase(names, "_default");
  for (const auto& host : options.registries) {
    if (std::ranges::find(names, host) == names.end()) names.push_back(host);
  }
  remote::Hosts hosts;
  hosts.set_directory(options.config.hosts_dir);
  for (const auto& [host, settings] : options.config.registries) hosts.set(host, settings);
  net::Client client;
  Findings findings;
  for (const auto& host : names) findings.push_back(examine_registry(client, hosts, host));
  return findings;
}

}  // namespace runnel::node
