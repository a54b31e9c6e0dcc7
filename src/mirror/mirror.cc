#include "mirror/mirror.h"

#include <array>

#include "base/log.h"
#include "mirror/answers.h"
#include "mirror/upstream.h"
#include "net/async.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/reference.h"

namespace runnel::mirror {

namespace {

using net::Headers;
using net::Response;

// What a client's request is forwarded with, and what of the answer goes back: headers about the
// content, not about the connection.
constexpr std::array kRequestHeaders = {"Accept", "Authorization", "Range", "If-None-Match",
                                        "User-Agent"};
constexpr std::array kResponseHeaders = {
    "Content-Type", "Content-Range",    "Accept-Ranges", "Docker-Content-Digest",          "ETag",
    "Retry-After",  "WWW-Authenticate", "Warning",       "Docker-Distribution-Api-Version"};

constexpr auto kConnectTimeout = std::chrono::seconds(10);
constexpr unsigned kMaxAskingStatus = 16;  // at a time

template <size_t N>
Headers selected(const Headers& from, const std::array<const char*, N>& names) {
  Headers to;
  for (const char* name : names) {
    for (const auto value : from.all(name)) to.add(name, std::string(value));
  }
  return to;
}

std::optional<uint64_t> content_length(const Headers& headers) {
  const auto text = headers.first("Content-Length");
  if (!text || text->empty() || text->size() > 19) return std::nullopt;
  uint64_t value = 0;
  for (const char digit : *text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(digit - '0');
  }
  return value;
}

// All of a body of at most `limit` bytes.
net::awaitable<Result<std::string>> read_all(net::BodyStream& body, size_t limit) {
  std::string all;
  Buffer piece(64 * 1024);
  for (;;) {
    RUNNEL_CO_TRY(const size_t size, co_await body.read(piece));
    if (size == 0) co_return all;
    if (all.size() + size > limit) {
      co_return fail(Code::kExhausted, "a manifest of more than {} bytes", limit);
    }
    all += as_text(Bytes(piece).first(size));
  }
}

// The digest of a manifest's bytes, or nothing when they are not what the client asked for.
std::optional<oci::Digest> verified_digest(const Target& target, const std::string& bytes) {
  const auto asked = oci::Digest::parse(target.reference);
  if (!asked) return oci::Digest::of(as_bytes(bytes));
  const auto actual = oci::Digest::of(as_bytes(bytes), asked->algorithm());
  if (actual != *asked) return std::nullopt;
  return actual;
}

// A client certificate and configured headers are this machine's rights, and any local process
// could use them through the mirror. containerd has the same hosts.toml and goes there itself.
bool may_lend(const remote::Endpoint& endpoint) {
  return endpoint.headers.empty() && (!endpoint.tls || endpoint.tls->certificate_file.empty());
}

net::ClientRequest upstream_request(const net::Request& request, const Target& target,
                                    const remote::Endpoint& endpoint) {
  net::ClientRequest upstream(request.method,
                              endpoint.url + net::percent_encode_path(request.path));
  upstream.headers = selected(request.headers, kRequestHeaders);
  if (target.manifest) upstream.headers.add(artifact::kAskHeader, artifact::kAskBootBlob);
  upstream.connect_timeout = kConnectTimeout;
  return upstream;
}

std::optional<artifact::BootHint> boot_hint(const Headers& headers) {
  const auto header = headers.first(artifact::kBootBlobHeader);
  auto hint = artifact::parse_boot_hint(header.value_or(""));
  return hint ? std::optional(*std::move(hint)) : std::nullopt;
}

// The digest that the head of an answer states, if it is of an image.
std::optional<oci::Digest> named_image(const Headers& headers) {
  if (!oci::is_manifest_type(headers.first("Content-Type").value_or(""))) return std::nullopt;
  const auto digest =
      oci::Digest::parse(std::string(headers.first("Docker-Content-Digest").value_or("")));
  return digest ? std::optional(*digest) : std::nullopt;
}

}  // namespace

std::optional<Target> parse_target(std::string_view path) {
  constexpr std::string_view kPrefix = "/v2/";
  if (!path.starts_with(kPrefix)) return std::nullopt;
  path.remove_prefix(kPrefix.size());
  const auto last = path.rfind('/');
  if (last == std::string_view::npos) return std::nullopt;
  const auto kind_slash = path.rfind('/', last - 1);
  if (last == 0 || kind_slash == std::string_view::npos) return std::nullopt;
  Target target;
  target.repository = path.substr(0, kind_slash);
  target.reference = path.substr(last + 1);
  const auto kind = path.substr(kind_slash + 1, last - kind_slash - 1);
  target.manifest = kind == "manifests";
  const bool digest = oci::Digest::parse(target.reference).has_value();
  const bool known =
      target.manifest ? digest || oci::is_valid_tag(target.reference) : kind == "blobs" && digest;
  if (!known || !oci::is_valid_repository(target.repository)) return std::nullopt;
  return target;
}

Mirror::Mirror(net::Client& client, const remote::Hosts& hosts, Observer& observer,
               remote::ShownCredentials& shown, std::function<std::string()> status)
    : client_(client),
      hosts_(hosts),
      observer_(observer),
      desk_(client, hosts, shown),
      status_(std::move(status)) {}

net::awaitable<Response> Mirror::handle(net::Request& request, net::RequestBody& body) {
  const bool for_desk = request.path == TokenDesk::kPath;
  if (request.method != "GET" && request.method != "HEAD" && !for_desk) {
    co_return error_response(405, "UNSUPPORTED", "the mirror only reads");
  }
  if (request.path == "/status") {
    co_return co_await answer_status();
  }
  if (request.path == "/v2/" || request.path == "/v2") {
    co_return Response(200, Headers{{"Content-Type", "application/json"}}, std::string("{}"));
  }
  if (!request.path.starts_with("/v2/")) {
    co_return error_response(404, "UNSUPPORTED", "the mirror has /v2/ and GET /status only");
  }
  const auto ns = request.query.first("ns");
  if (!ns || !net::split_host_port(*ns)) {
    co_return error_response(400, "NAME_INVALID",
                             "the request names no registry: it wants ?ns=HOST, as containerd adds "
                             "for a mirror in hosts.toml");
  }
  const std::string host(*ns);
  if (for_desk) co_return co_await desk_.handle(request, body, host);
  co_return co_await forward(request, host);
}

// It takes as long as it takes, and pulls go on meanwhile. Any local process may ask.
net::awaitable<Response> Mirror::answer_status() {
  struct Asking {
    explicit Asking(std::atomic<unsigned>& c) : count(c), before(count++) {}
    ~Asking() { --count; }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    std::atomic<unsigned>& count;
    const unsigned before;
  };
  const Asking asking(asking_status_);
  if (asking.before >= kMaxAskingStatus)
    co_return error_response(503, "UNAVAILABLE", "too many ask for the status; try again");
  auto text = co_await net::on_pool(status_pool_, status_);
  co_return Response(200, Headers{{"Content-Type", "application/json"}}, std::move(text));
}

// The client asks us for its token, and not the registry's token server.
void Mirror::send_to_desk(const net::Request& request, const std::string& host,
                          Response& response) {
  constexpr const char* kChallenge = "WWW-Authenticate";
  const auto own = request.headers.first("Host").value_or("");
  const auto authority = net::split_host_port(own);
  if (!authority || !net::is_loopback_host(authority->host)) return;
  std::vector<std::string> lines;
  for (const auto line : response.headers.all(kChallenge))
    lines.push_back(desk_.challenge(host, line, authority->text()));
  response.headers.remove(kChallenge);
  for (auto& line : lines) response.headers.add(kChallenge, std::move(line));
}

void Mirror::tell_name(const std::string& host, const Target& target, const net::Headers& headers) {
  const auto digest = named_image(headers);
  if (digest)
    observer_.manifest_named({.host = host,
                              .repository = target.repository,
                              .digest = *digest,
                              .boot = boot_hint(headers)});
}

net::awaitable<Response> Mirror::forward(const net::Request& request, const std::string& host) {
  const auto target = parse_target(request.path);
  if (!target) co_return error_response(404, "NAME_UNKNOWN", "neither a manifest nor a blob");

  const auto endpoint = hosts_.endpoint(host);
  // containerd goes on with the same file by itself.
  if (endpoint.refused) co_return error_response(503, "UNAVAILABLE", endpoint.refused->message);
  if (!may_lend(endpoint)) {
    co_return error_response(503, "DENIED",
                             host +
                                 ": its hosts.toml has a client certificate or headers, which "
                                 "are lent to nobody; ask the registry itself");
  }
  auto upstream = upstream_request(request, *target, endpoint);
  auto answered = co_await ask_upstream(client_, endpoint, std::move(upstream));
  if (!answered) {
    log::warning("mirror: {} {} of {}: {}", request.method, request.path, host,
                 answered.error().message);
    co_return error_response(503, "UNAVAILABLE",
                             fmt::format("{}: {}", host, answered.error().message));
  }
  auto& opened = answered->response;

  const int status = opened.head.status;
  Response response(status, selected(opened.head.headers, kResponseHeaders));
  if (status == 401) send_to_desk(request, host, response);
  const auto authorization = request.headers.first("Authorization");
  if (authorization && answered->taken) desk_.accepted(host, target->repository, *authorization);
  response.content_length = content_length(opened.head.headers);
  const bool is_head = request.method == "HEAD";
  const auto& told = opened.head.headers;
  if (target->manifest && status == 200 && (is_head || told.has(artifact::kBootBlobHeader)))
    tell_name(host, *target, told);
  if (is_head) co_return response;
  if (!target->manifest || status != 200) {
    response.body = std::move(opened.body);
    co_return response;
  }

  auto bytes = co_await read_all(*opened.body, oci::kMaxDocumentBytes);
  if (!bytes) co_return error_response(503, "UNAVAILABLE", bytes.error().message);
  const auto digest = verified_digest(*target, *bytes);
  if (!digest) {
    co_return error_response(
        503, "DIGEST_INVALID",
        fmt::format("{} answered {} with other bytes", host, target->reference));
  }
  SeenManifest seen{.host = host,
                    .repository = target->repository,
                    .digest = *digest,
                    .media_type = std::string(response.headers.first("Content-Type").value_or("")),
                    .bytes = as_bytes(*bytes)};
  observer_.manifest_seen(seen);
  response.body = *std::move(bytes);
  co_return response;
}

}  // namespace runnel::mirror
