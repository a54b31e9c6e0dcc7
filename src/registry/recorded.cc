#include "registry/recorded.h"

#include <boost/json.hpp>

#include "access/base64url.h"
#include "base/log.h"
#include "registry/oauth_api.h"
#include "registry/reply.h"
#include "registry/route.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

using Kind = Route::Kind;

namespace {

// A disk that stands still must not fill the memory.
constexpr size_t kMaxWaiting = 10'000;

bool only_reads(const net::Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

// Steps of an upload change nothing that anybody sees until it ends.
bool is_upload_step(const std::optional<Route>& route, const net::Response& response) {
  return route && (route->kind == Kind::kUploads || route->kind == Kind::kUpload) &&
         (response.status == 202 || response.status == 204);
}

// Whoever said who they are, wrongly: in a header, or in the form of a request for a token.
bool was_denied(const net::Request& request, const net::Response& response) {
  const bool said = request.headers.has("Authorization") || is_oauth(request.path);
  return response.status == 403 || response.status == 429 || (response.status == 401 && said);
}

bool is_audited(const net::Request& request, const std::optional<Route>& route,
                const net::Response& response) {
  if (was_denied(request, response)) return true;
  if (only_reads(request) || response.status == 401 || is_oauth(request.path)) return false;
  return !is_upload_step(route, response);
}

constexpr std::string_view kBearer = "bearer ";

bool has_bearer(std::string_view authorization) {
  return authorization.size() > kBearer.size() &&
         net::same_name(authorization.substr(0, kBearer.size()), kBearer);
}

std::string_view way_in(std::string_view authorization) {
  if (has_bearer(authorization)) return "bearer";
  return authorization.empty() ? "none" : "password";
}

// The jti of a token of ours; empty for anything else.
std::string id_of_token(std::string_view token) {
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  if (first == last) return {};
  const auto text = access::from_base64url(token.substr(first + 1, last - first - 1));
  json::error_code failed;
  const auto value = json::parse(text.value_or(""), failed);
  const auto* object = failed ? nullptr : value.if_object();
  const auto* id = object == nullptr ? nullptr : object->if_contains("jti");
  return id != nullptr && id->is_string() ? std::string(id->get_string()) : std::string();
}

// What both logs begin with. Never the query or the headers as they came: they may hold secrets.
json::object begin_line(const Clock& clock, const net::Request& request,
                        const net::Response& response) {
  json::object line;
  line["time"] = to_utc_text(clock.wall());
  line["peer"] = request.peer;
  line["principal"] = request.principal;
  line["method"] = request.method;
  line["path"] = request.path;
  line["status"] = response.status;
  return line;
}

std::string audit_line(const Clock& clock, const net::Request& request,
                       const std::optional<Route>& route, const net::Response& response) {
  auto line = begin_line(clock, request, response);
  const auto authorization = request.headers.first("Authorization").value_or("");
  line["via"] = way_in(authorization);
  // Whoever was identified by a token showed one that is ours.
  if (has_bearer(authorization) && !request.principal.empty())
    line["token"] = id_of_token(authorization.substr(kBearer.size()));
  line["result"] = was_denied(request, response) || response.status == 401 ? "denied"
                   : response.status < 400                                 ? "done"
                                                                           : "failed";
  if (route && !route->repository.empty()) line["repository"] = route->repository;
  if (route && route->kind == Kind::kManifest) line["reference"] = route->target;
  if (const auto digest = response.headers.first("Docker-Content-Digest")) line["digest"] = *digest;
  json::array tags;
  for (const auto tag : response.headers.all("OCI-Tag")) tags.emplace_back(tag);
  if (!tags.empty()) line["tags"] = std::move(tags);
  return json::serialize(line);
}

net::Response plain(int status, std::string_view text) {
  net::Response response(status);
  response.headers.add("Content-Type", "text/plain");
  response.headers.add("Cache-Control", "no-store");
  response.body = std::string(text) + "\n";
  return response;
}

}  // namespace

net::awaitable<net::Response> Recorded::handle(net::Request& request, net::RequestBody& body) {
  if (only_reads(request) && request.path == "/healthz") co_return plain(200, "ok");
  if (only_reads(request) && request.path == "/readyz") co_return co_await readiness();
  const auto started = services_.clock.now();
  auto response = co_await api_.handle(request, body);
  const auto duration = services_.clock.now() - started;
  if (audit_) {
    const auto route = parse_route(request.path);
    if (is_audited(request, route, response)) {
      auto line = audit_line(services_.clock, request, route, response);
      auto work = [&] {
        audit_->append(std::move(line));
        return true;
      };
      co_await net::on_pool(services_.writers, std::move(work));
    }
  }
  if (webhooks_ != nullptr && !only_reads(request) && response.status < 300) {
    auto work = [&] {
      webhooks_->remember(request, response);
      return true;
    };
    co_await net::on_pool(services_.writers, std::move(work));
  }
  if (access_) record_access(request, response, duration);
  co_return response;
}

std::optional<net::Response> Recorded::answer_at_once(net::Request& request) {
  if (audit_ || !only_reads(request)) return std::nullopt;
  const auto started = services_.clock.now();
  auto response = api_.answer_at_once(request);
  if (response && access_) record_access(request, *response, services_.clock.now() - started);
  return response;
}

void Recorded::record_access(const net::Request& request, const net::Response& response,
                             Duration duration) {
  if (waiting_ >= kMaxWaiting) {
    if (dropped_++ == 0) log::warning("the access log loses lines: its disk does not keep up");
    return;
  }
  ++waiting_;
  auto line = begin_line(services_.clock, request, response);
  line["bytes"] = announced_size(response);  // as announced: the body is sent later
  line["seconds"] = std::chrono::duration<double>(duration).count();
  line["agent"] = request.headers.first("User-Agent").value_or("");
  writer_.submit([this, text = json::serialize(line)]() mutable {
    access_->append(std::move(text));
    --waiting_;
    dropped_ = 0;
  });
}

net::awaitable<net::Response> Recorded::readiness() {
  if (stopping_) co_return plain(503, "stopping");
  auto work = [&] { return services_.metadata.repositories("", 1); };
  const auto answered = co_await net::on_pool(services_.readers, std::move(work));
  if (answered) co_return plain(200, "ready");
  log::warning("not ready: {}", answered.error().message);
  co_return plain(503, "the database does not answer; the log says why");
}

void Recorded::reopen() {
  if (audit_) audit_->reopen();
  if (access_) access_->reopen();
}

}  // namespace runnel::registry
