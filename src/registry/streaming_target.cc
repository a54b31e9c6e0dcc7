#include "registry/streaming_target.h"

namespace runnel::registry {

using Kind = StreamingTarget::Kind;

namespace {

constexpr std::string_view kAcr = "/acr/v1/";
constexpr std::string_view kOurs = "/runnel/v1/";
constexpr std::string_view kStreaming = "/_streaming";
constexpr std::string_view kOperations = "/_operations/";
constexpr std::string_view kArtifact = "/_artifact/";
constexpr std::string_view kMount = "/mount/v1/";
constexpr std::string_view kKeys = "/.well-known/runnel/converter-keys";
constexpr std::string_view kCancel = ":cancel";

std::optional<StreamingTarget> below(std::string_view path, std::string_view part, Kind kind) {
  const auto at = path.rfind(part);
  if (at == std::string_view::npos || at == 0) return std::nullopt;
  const auto rest = path.substr(at + part.size());
  if (rest.empty() || rest.find('/') != std::string_view::npos) return std::nullopt;
  return StreamingTarget{
      .kind = kind, .repository = std::string(path.substr(0, at)), .rest = std::string(rest)};
}

}  // namespace

std::optional<StreamingTarget> parse_streaming_target(std::string_view path) {
  if (path == kKeys) return StreamingTarget{.kind = Kind::kKeys};
  if (path == kOperationsPath) return StreamingTarget{.kind = Kind::kListing};
  if (path.starts_with(kMount))
    return below(path.substr(kMount.size()), "/_manifests/", Kind::kMount);
  const bool ours = path.starts_with(kOurs);
  if (!ours && !path.starts_with(kAcr)) return std::nullopt;
  path.remove_prefix(ours ? kOurs.size() : kAcr.size());
  if (path.size() > kStreaming.size() && path.ends_with(kStreaming))
    return StreamingTarget{
        .kind = ours ? Kind::kBulk : Kind::kSwitch,
        .repository = std::string(path.substr(0, path.size() - kStreaming.size()))};
  if (ours) return below(path, kArtifact, Kind::kArtifact);
  if (auto image = below(path, "/_streaming/", Kind::kImage)) return image;
  auto operation = below(path, kOperations, Kind::kOperation);
  if (operation && operation->rest.ends_with(kCancel)) {
    operation->kind = Kind::kCancel;
    operation->rest.resize(operation->rest.size() - kCancel.size());
  }
  return operation;
}

}  // namespace runnel::registry
