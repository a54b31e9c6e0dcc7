#include "registry/known_paths.h"

#include "oci/reference.h"

namespace runnel::registry {

namespace {

constexpr std::string_view kRoot = "/acr/v1/";
constexpr std::string_view kTags = "/_tags/";

}  // namespace

std::optional<std::string> distribution_path(const net::Request& request) {
  std::string_view path = request.path;
  if (!path.starts_with(kRoot)) return std::nullopt;
  path.remove_prefix(kRoot.size());
  if (path == "_catalog") return "/v2/_catalog";
  const auto at = path.rfind(kTags);
  if (request.method != "DELETE" || at == std::string_view::npos) return std::nullopt;
  const auto tag = path.substr(at + kTags.size());
  // A digest there would be another deletion.
  if (!oci::is_valid_tag(tag)) return std::nullopt;
  return fmt::format("/v2/{}/manifests/{}", path.substr(0, at), tag);
}

}  // namespace runnel::registry
