// Which resource of the distribution API a request names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace runnel::registry {

struct Route {
  enum class Kind : uint8_t {
    kBase,       // /v2/
    kCatalog,    // /v2/_catalog
    kTags,       // /v2/{repository}/tags/list
    kManifest,   // /v2/{repository}/manifests/{target}
    kReferrers,  // /v2/{repository}/referrers/{target}
    kBlob,       // /v2/{repository}/blobs/{target}
    kUploads,    // /v2/{repository}/blobs/uploads/
    kUpload,     // /v2/{repository}/blobs/uploads/{target}
  };

  Kind kind = Kind::kBase;
  std::string repository;  // not checked
  std::string target;      // not checked; without '/'
  // The caller may not see the repository: the answer is the one for a repository that is absent.
  bool hidden = false;

  // The repository to look into.
  std::string_view key() const { return hidden ? std::string_view() : repository; }
};

// `path` is decoded. Empty when no resource has this path.
std::optional<Route> parse_route(std::string_view path);
// Its kind alone.
std::optional<Route::Kind> kind_of_route(std::string_view path);

}  // namespace runnel::registry
