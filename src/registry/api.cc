#include "registry/api.h"

#include "base/quote.h"
#include "oci/document.h"
#include "oci/reference.h"
#include "registry/blob_api.h"
#include "registry/manifest_api.h"
#include "registry/reply.h"
#include "registry/route.h"
#include "registry/upload_api.h"

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

Answer read(Services& services, const Route& route, const net::Request& request) {
  switch (route.kind) {
    case Kind::kBase: return json_response(200, "application/json", "{}");
    case Kind::kCatalog: return list_repositories(services, request);
    case Kind::kTags: return list_tags(services, route, request);
    case Kind::kManifest: return get_manifest(services, route, request);
    case Kind::kReferrers: return list_referrers(services, route, request);
    case Kind::kBlob: return get_blob(services, route, request);
    case Kind::kUpload: return upload_status(services, route);
    case Kind::kUploads: break;
  }
  return refuse(405, "UNSUPPORTED", "there is nothing to read here");
}

Answer remove(Services& services, const Route& route) {
  if (route.kind == Kind::kUpload) return cancel_upload(services, route);
  if (!services.config.deletion)
    return refuse(405, "UNSUPPORTED", "deletion is switched off in this registry's configuration");
  return route.kind == Kind::kBlob ? delete_blob(services, route)
                                   : delete_manifest(services, route);
}

Refusal manifest_too_large() {
  return {413, "MANIFEST_INVALID",
          fmt::format("a manifest has at most {} bytes", oci::kMaxDocumentBytes)};
}

// The whole of a body that fits in memory.
net::awaitable<std::expected<Buffer, Refusal>> read_manifest_body(net::RequestBody& body) {
  const auto announced = body.content_length();
  if (announced.value_or(0) > oci::kMaxDocumentBytes)
    co_return std::unexpected(manifest_too_large());
  Buffer bytes(announced.value_or(64 * 1024) + 1);  // one more, to see the end
  size_t filled = 0;
  while (true) {
    const auto count = co_await body.read(MutableBytes(bytes).subspan(filled));
    if (!count)
      co_return refuse(400, "MANIFEST_INVALID",
                       "the body is not complete: " + count.error().message);
    if (*count == 0) break;
    filled += *count;
    if (filled > oci::kMaxDocumentBytes) co_return std::unexpected(manifest_too_large());
    if (filled == bytes.size()) bytes.resize(bytes.size() * 2);
  }
  bytes.resize(filled);
  co_return bytes;
}

net::awaitable<Answer> receive_manifest(Services& services, const Route& route,
                                        const net::Request& request, net::RequestBody& body) {
  const auto bytes = co_await read_manifest_body(body);
  if (!bytes) co_return std::unexpected(bytes.error());
  auto work = [&] { return put_manifest(services, route, request, *bytes); };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

net::awaitable<Answer> dispatch(Services& services, const Route& route, const net::Request& request,
                                net::RequestBody& body) {
  const auto& method = request.method;
  if (method == "GET" || method == "HEAD") {
    auto work = [&] { return read(services, route, request); };
    co_return co_await net::on_pool(services.readers, std::move(work));
  }
  if (method == "DELETE") {
    auto work = [&] { return remove(services, route); };
    co_return co_await net::on_pool(services.writers, std::move(work));
  }
  if (method == "POST") co_return co_await start_upload(services, route, request, body);
  if (method == "PATCH") co_return co_await append_upload(services, route, request, body);
  if (route.kind == Kind::kUpload) co_return co_await finish_upload(services, route, request, body);
  co_return co_await receive_manifest(services, route, request, body);
}

}  // namespace

net::awaitable<net::Response> Api::handle(net::Request& request, net::RequestBody& body) {
  const auto route = find_resource(request);
  if (!route) co_return response_of(std::unexpected(route.error()));
  auto answer = co_await dispatch(services_, *route, request, body);
  co_return response_of(std::move(answer));
}

}  // namespace runnel::registry
