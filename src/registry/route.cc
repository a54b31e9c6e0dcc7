#include "registry/route.h"

namespace runnel::registry {

namespace {

// Cuts the last component off `path` and returns it.
std::string_view take_last(std::string_view& path) {
  const auto slash = path.rfind('/');
  const auto last = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
  path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
  return last;
}

std::optional<Route> route(Route::Kind kind, std::string_view repository,
                           std::string_view target = {}) {
  if (repository.empty()) return std::nullopt;
  return Route{kind, std::string(repository), std::string(target)};
}

}  // namespace

std::optional<Route> parse_route(std::string_view path) {
  constexpr std::string_view kRoot = "/v2";
  if (path == "/v2") return Route{};
  if (!path.starts_with(kRoot) || path[kRoot.size()] != '/') return std::nullopt;
  path.remove_prefix(kRoot.size() + 1);
  if (path.empty()) return Route{};
  if (path == "_catalog")
    return Route{.kind = Route::Kind::kCatalog, .repository = {}, .target = {}};

  // From the end, because repositories have slashes, and components named like our own.
  const auto target = take_last(path);
  const auto kind = take_last(path);
  if (target == "list" && kind == "tags") return route(Route::Kind::kTags, path);
  if (kind == "manifests") return route(Route::Kind::kManifest, path, target);
  if (kind == "referrers") return route(Route::Kind::kReferrers, path, target);
  if (kind == "blobs" && target == "uploads") return route(Route::Kind::kUploads, path);
  if (kind == "uploads" && path.ends_with("/blobs")) {
    take_last(path);
    return target.empty() ? route(Route::Kind::kUploads, path)
                          : route(Route::Kind::kUpload, path, target);
  }
  if (kind == "blobs") return route(Route::Kind::kBlob, path, target);
  return std::nullopt;
}

}  // namespace runnel::registry
