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

// A Route whose texts are in the path.
struct Parts {
  Route::Kind kind = Route::Kind::kBase;
  std::string_view repository = {};
  std::string_view target = {};
};

std::optional<Parts> parts(Route::Kind kind, std::string_view repository,
                           std::string_view target = {}) {
  if (repository.empty()) return std::nullopt;
  return Parts{kind, repository, target};
}

std::optional<Parts> parts_of(std::string_view path) {
  constexpr std::string_view kRoot = "/v2";
  if (path == "/v2") return Parts{};
  if (!path.starts_with(kRoot) || path[kRoot.size()] != '/') return std::nullopt;
  path.remove_prefix(kRoot.size() + 1);
  if (path.empty()) return Parts{};
  if (path == "_catalog") return Parts{.kind = Route::Kind::kCatalog};

  // From the end, because repositories have slashes, and components named like our own.
  const auto target = take_last(path);
  const auto kind = take_last(path);
  if (target == "list" && kind == "tags") return parts(Route::Kind::kTags, path);
  if (kind == "manifests") return parts(Route::Kind::kManifest, path, target);
  if (kind == "referrers") return parts(Route::Kind::kReferrers, path, target);
  if (kind == "blobs" && target == "uploads") return parts(Route::Kind::kUploads, path);
  if (kind == "uploads" && path.ends_with("/blobs")) {
    take_last(path);
    return target.empty() ? parts(Route::Kind::kUploads, path)
                          : parts(Route::Kind::kUpload, path, target);
  }
  if (kind == "blobs") return parts(Route::Kind::kBlob, path, target);
  return std::nullopt;
}

}  // namespace

std::optional<Route> parse_route(std::string_view path) {
  const auto found = parts_of(path);
  if (!found) return std::nullopt;
  return Route{found->kind, std::string(found->repository), std::string(found->target)};
}

std::optional<Route::Kind> kind_of_route(std::string_view path) {
  const auto found = parts_of(path);
  if (!found) return std::nullopt;
  return found->kind;
}

}  // namespace runnel::registry
