#include "registry/api.h"

#include "base/quote.h"
#include "meta/operation_queue.h"
#include "oci/document.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/attributes_api.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/deleted_api.h"
#include "registry/known_paths.h"
#include "registry/management_api.h"
#include "registry/manifest_api.h"
#include "registry/manifest_list_api.h"
#include "registry/oauth_api.h"
#include "registry/profiles_api.h"
#include "registry/reply.h"
#include "registry/request_body.h"
#include "registry/route.h"
#include "registry/soft_delete_api.h"
#include "registry/streaming_api.h"
#include "registry/tag_list_api.h"
#include "registry/upload_api.h"
#include "registry/warnings.h"

namespace runnel::registry {

namespace {

using Kind = Route::Kind;

std::string_view allowed_methods(Kind kind) {
  switch (kind) {
    case Kind::kBase:
    case Kind::kCatalog:
    case Kind::kTags:
    case Kind::kReferrers: return "GET, HEAD";
    case Kind::kManifest: return "GET, HEAD, PUT, DELETE";
    case Kind::kBlob: return "GET, HEAD, DELETE";
    case Kind::kUploads: return "POST";
    case Kind::kUpload: return "GET, HEAD, PATCH, PUT, DELETE";
  }
  return "";
}

bool is_allowed(Kind kind, std::string_view method) {
  auto list = allowed_methods(kind);
  while (!list.empty()) {
    const auto end = list.find(',');
    if (list.substr(0, end) == method) return true;
    list.remove_prefix(end == std::string_view::npos ? list.size() : end + 2);
  }
  return false;
}

bool is_distribution(std::string_view path) {
  return path == "/v2" || path.starts_with("/v2/");
}

// The resource, if there is one and it takes this method.
std::expected<Route, Refusal> find_resource(const net::Request& request) {
  auto route = parse_route(request.path);
  if (!route)
    return refuse(404, "UNSUPPORTED", fmt::format("there is nothing at {}", quote(request.path)));
  if (!route->repository.empty() && !oci::is_valid_repository(route->repository))
    return refuse(400, "NAME_INVALID",
                  fmt::format("{} is not a repository's name", quote(route->repository)));
  if (!is_allowed(route->kind, request.method)) {
    Refusal refusal(405, "UNSUPPORTED",
                    fmt::format("{} is not possible here", quote(request.method)));
    refusal.headers.add("Allow", std::string(allowed_methods(route->kind)));
    return std::unexpected(std::move(refusal));
  }
  return *std::move(route);
}

Answer read(Services& services, const Caller& caller, const Route& route,
            const net::Request& request) {
  if (route.kind == Kind::kManifest || route.kind == Kind::kReferrers)
    RUNNEL_DO(check_attributes(services.metadata, Attribute::kRead, route));
  switch (route.kind) {
    case Kind::kBase: return json_response(200, "application/json", "{}");
    case Kind::kCatalog: return list_repositories(services, caller, request);
    case Kind::kTags: return list_tags(services, route, request);
    case Kind::kManifest: return get_manifest(services, route, request);
    case Kind::kReferrers: return list_referrers(services, route, request);
    case Kind::kBlob: return get_blob(services, route, request);
    case Kind::kUpload: return upload_status(services, caller, route);
    case Kind::kUploads: break;
  }
  return refuse(405, "UNSUPPORTED", "there is nothing to read here");
}

Answer remove(Services& services, const Caller& caller, const Route& route) {
  if (route.kind == Kind::kUpload) return cancel_upload(services, caller, route);
  if (!services.config.deletion)
    return refuse(405, "UNSUPPORTED", "deletion is switched off in this registry's configuration");
  RUNNEL_DO(check_attributes(services.metadata, Attribute::kDelete, route));
  return route.kind == Kind::kBlob ? delete_blob(services, route)
                                   : delete_manifest(services, route);
}

Refusal body_refusal(const Error& error) {
  if (error.code == Code::kExhausted)
    return {413, "MANIFEST_INVALID",
            fmt::format("a manifest has at most {} bytes", oci::kMaxDocumentBytes)};
  return {400, "MANIFEST_INVALID", "the body is not complete: " + error.message};
}

net::awaitable<Answer> receive_manifest(Services& services, const Caller& caller,
                                        const Route& route, const net::Request& request,
                                        net::RequestBody& body) {
  const auto bytes = co_await read_whole(body, oci::kMaxDocumentBytes);
  if (!bytes) co_return std::unexpected(body_refusal(bytes.error()));
  auto work = [&]() -> Answer {
    RUNNEL_DO(check_pushed_names(route, request));
    const auto tags = request.query.all("tag");
    RUNNEL_DO(begin_names_anew(services.metadata, route, tags));
    RUNNEL_DO(check_attributes(services.metadata, Attribute::kWrite, route, tags));
    return put_manifest(services, caller, route, request, *bytes);
  };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

// Waking a thread and being woken by it costs more than these look-ups. A HEAD of a blob may write:
// it renews the lease.
bool is_read_at_once(const Services& services, const Route& route, const net::Request& request) {
  const bool gets = request.method == "GET";
  const bool reads = (gets && route.kind == Kind::kBlob) ||
                     ((gets || request.method == "HEAD") && route.kind == Kind::kManifest);
  return reads && services.metadata.looks_up_at_once() && services.blobs.opens_at_once();
}

net::awaitable<Answer> dispatch(Services& services, const Caller& caller, const Route& route,
                                const net::Request& request, net::RequestBody& body) {
  const auto& method = request.method;
  if (method == "GET" || method == "HEAD") {
    auto work = [&] { return read(services, caller, route, request); };
    co_return co_await net::on_pool(services.readers, std::move(work));
  }
  if (method == "DELETE") {
    auto work = [&] { return remove(services, caller, route); };
    co_return co_await net::on_pool(services.writers, std::move(work));
  }
  if (route.kind == Kind::kUploads || route.kind == Kind::kUpload) {
    auto check = [&]() -> std::expected<void, Refusal> {
      RUNNEL_DO(begin_names_anew(services.metadata, route));
      return check_attributes(services.metadata, Attribute::kWrite, route);
    };
    const auto may_write = co_await net::on_pool(services.readers, std::move(check));
    if (!may_write) co_return std::unexpected(may_write.error());
  }
  if (method == "POST") co_return co_await start_upload(services, caller, route, request, body);
  if (method == "PATCH") co_return co_await append_upload(services, caller, route, request, body);
  if (route.kind == Kind::kUpload)
    co_return co_await finish_upload(services, caller, route, request, body);
  co_return co_await receive_manifest(services, caller, route, request, body);
}

// Who is let in gets the challenge of the resource when what it says of itself is wrong.
Refusal not_identified(const Gate& gate, const net::Request& request, Refusal refusal) {
  if (refusal.status == 401)
    return gate.unauthorized(request, "", "invalid_token", std::move(refusal.message));
  return refusal;
}

// HEAD is free: clients ask it whether what they have is still the newest.
std::optional<Refusal> too_often(Services& services, const Caller& caller, const Route& route,
                                 const net::Request& request) {
  if (route.kind != Kind::kManifest || request.method != "GET") return std::nullopt;
  const bool named = !caller.id().empty() && !caller.is_anonymous();
  const auto wait = services.manifest_reads.take(
      named ? caller.id() : "from " + network_of(address_of(request.peer)));
  if (!wait) return std::nullopt;
  Refusal refusal(429, "TOOMANYREQUESTS",
                  fmt::format("more than {} manifests in a minute",
                              services.config.limits.manifests_per_minute));
  refusal.headers.add("Retry-After", retry_after(*wait));
  return refusal;
}

Answer read_at_once(Services& services, const Caller& caller, const Route& route,
                    const net::Request& request) {
  if (auto refusal = too_often(services, caller, route, request))
    return std::unexpected(*std::move(refusal));
  auto answered = read(services, caller, route, request);
  auto& headers = answered ? answered->headers : answered.error().headers;
  add_warnings(headers, services.config.notices, caller, route);
  return answered;
}

net::awaitable<Answer> answer_as(Services& services, const Caller& caller, const Route& route,
                                 const net::Request& request, net::RequestBody& body) {
  if (is_read_at_once(services, route, request))
    co_return read_at_once(services, caller, route, request);
  if (auto refusal = too_often(services, caller, route, request))
    co_return std::unexpected(*std::move(refusal));
  auto answered = co_await dispatch(services, caller, route, request, body);
  auto& headers = answered ? answered->headers : answered.error().headers;
  add_warnings(headers, services.config.notices, caller, route);
  co_return answered;
}

net::awaitable<Answer> answer_guarded(Services& services, Gate& gate, Route route,
                                      net::Request& request, net::RequestBody& body) {
  auto caller = co_await gate.identify(request);
  if (!caller) co_return std::unexpected(not_identified(gate, request, caller.error()));
  request.principal = caller->id();
  const auto decision = authorize(gate, *caller, route, request);
  if (!decision) co_return std::unexpected(decision.error());
  if (*decision == Decision::kOfImages) {
    auto work = [&] { return check_images(gate, services.image_rights, *caller, route, request); };
    const auto checked = co_await net::on_pool(services.readers, std::move(work));
    if (!checked) co_return std::unexpected(checked.error());
  }
  route.hidden = *decision == Decision::kHidden;
  co_return co_await answer_as(services, *caller, route, request, body);
}

// The APIs beside the distribution API.
net::awaitable<Answer> answer_elsewhere(Services& services, net::Request& request,
                                        net::RequestBody& body) {
  if (services.gate != nullptr && is_oauth(request.path))
    co_return co_await handle_oauth(*services.gate, services.config, request, body);
  if (is_deleted(request)) co_return co_await handle_deleted(services, request, body);
  if (is_soft_delete(request)) co_return co_await handle_soft_delete(services, request);
  if (is_streaming(request)) co_return co_await handle_streaming(services, request, body);
  if (is_tag_list(request)) co_return co_await handle_tag_list(services, request);
  if (is_manifest_list(request)) co_return co_await handle_manifest_list(services, request);
  if (is_attributes(request)) co_return co_await handle_attributes(services, request, body);
  if (is_profiles(request.path)) co_return co_await handle_profiles(services, request, body);
  if (is_management(request.path)) co_return co_await handle_management(services, request, body);
  co_return refuse(404, "UNSUPPORTED", fmt::format("there is nothing at {}", quote(request.path)));
}

// What is recorded of every answer of ACR's API. (docs/decisions/0019-whose-words.md)
Answer with_known_headers(Answer answered, bool of_that_api) {
  auto& headers = answered ? answered->headers : answered.error().headers;
  if (of_that_api) headers.add("Server", "AzureContainerRegistry");
  headers.add("X-Ms-Correlation-Request-Id", meta::random_operation_id());
  headers.add("Access-Control-Expose-Headers",
              "Docker-Content-Digest, WWW-Authenticate, Link, X-Ms-Correlation-Request-Id");
  return answered;
}

net::awaitable<Answer> answer_distribution(Services& services, net::Request& request,
                                           net::RequestBody& body) {
  auto route = find_resource(request);
  if (!route) co_return std::unexpected(route.error());
  if (services.gate != nullptr)
    co_return co_await answer_guarded(services, *services.gate, *std::move(route), request, body);
  const auto caller = Caller::anyone();
  co_return co_await answer_as(services, caller, *route, request, body);
}

net::awaitable<Answer> answer(Services& services, net::Request& request, net::RequestBody& body) {
  if (is_distribution(request.path))
    co_return co_await answer_distribution(services, request, body);
  const bool of_that_api = request.path.starts_with("/acr/v1/");
  if (auto path = distribution_path(request)) {
    request.path = *std::move(path);
    auto answered = co_await answer_distribution(services, request, body);
    co_return with_known_headers(std::move(answered), of_that_api);
  }
  auto answered = co_await answer_elsewhere(services, request, body);
  co_return with_known_headers(std::move(answered), of_that_api);
}

}  // namespace

net::awaitable<net::Response> Api::handle(net::Request& request, net::RequestBody& body) {
  auto answered = co_await answer(services_, request, body);
  co_return response_of(std::move(answered));
}

std::optional<net::Response> Api::answer_at_once(net::Request& request) {
  if (services_.gate != nullptr || !is_distribution(request.path)) return std::nullopt;
  const auto route = find_resource(request);
  if (!route || !is_read_at_once(services_, *route, request)) return std::nullopt;
  static const auto caller = Caller::anyone();
  return response_of(read_at_once(services_, caller, *route, request));
}

}  // namespace runnel::registry
