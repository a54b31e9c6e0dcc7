#include "registry/manifest_api.h"

#include <algorithm>

#include "base/quote.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/reference.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/boot_hint.h"
#include "registry/conversions.h"
#include "registry/held_tags.h"
#include "registry/new_manifest.h"
#include "registry/pushed_layers.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxTagParameters = 100;
constexpr size_t kMaxListedBlobs = 10;

std::expected<meta::ManifestName, Refusal> manifest_name(std::string_view target) {
  if (target.find(':') != std::string_view::npos) {
    RUNNEL_TRY(auto digest, digest_of(target));
    return meta::ManifestName(std::move(digest));
  }
  if (!oci::is_valid_tag(target))
    return refuse(400, "TAG_INVALID", fmt::format("{} is not a tag", quote(target)));
  return meta::ManifestName(std::string(target));
}

std::unexpected<Refusal> manifest_unknown(const Route& route) {
  return refuse(404, "MANIFEST_UNKNOWN",
                fmt::format("{} has no manifest {}", route.repository, route.target));
}

net::Response manifest_response(const meta::ManifestInfo& info) {
  net::Response response(200);
  response.headers.add("Content-Type", info.media_type);
  response.headers.add("Docker-Content-Digest", info.digest.to_string());
  response.headers.add("ETag", "\"" + info.digest.to_string() + "\"");
  return response;
}

// For the node that is going to stream the image. What it costs is paid by who asks for it.
Result<void> add_boot_hint(Services& services, const Route& route, const net::Request& request,
                           const meta::ManifestInfo& info, net::Response& response) {
  if (!asks_for_boot_blob(request.headers) || oci::is_index_type(info.media_type)) return {};
  RUNNEL_TRY(const auto hint, boot_hint(services.metadata, route.key(), info.digest));
  if (hint) response.headers.add(artifact::kBootBlobHeader, artifact::to_header(*hint));
  return {};
}

std::expected<meta::NewManifest, Refusal> read_manifest(Bytes bytes, std::string_view content_type,
                                                        const oci::Digest* wanted) {
  auto made = new_manifest(bytes, content_type,
                           wanted != nullptr ? wanted->algorithm() : oci::Algorithm::kSha256);
  if (!made) {
    const bool too_large = made.error().code == Code::kExhausted;
    return refuse(too_large ? 413 : 400, "MANIFEST_INVALID", made.error().message);
  }
  return *std::move(made);
}

// The tags of "?tag=a&tag=b".
std::expected<std::vector<std::string>, Refusal> tag_parameters(const net::Request& request) {
  std::vector<std::string> tags;
  for (const auto tag : request.query.all("tag")) {
    if (!oci::is_valid_tag(tag))
      return refuse(400, "TAG_INVALID", fmt::format("{} is not a tag", quote(tag)));
    tags.emplace_back(tag);
  }
  if (tags.size() > kMaxTagParameters)
    return refuse(400, "TAG_INVALID",
                  fmt::format("{} tags in one request, more than the limit of {}", tags.size(),
                              kMaxTagParameters));
  return tags;
}

std::unexpected<Refusal> missing_blobs(const Route& route,
                                       const std::vector<oci::Digest>& missing) {
  std::string list;
  for (const auto& digest : std::span(missing).first(std::min(missing.size(), kMaxListedBlobs)))
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", digest);
  Refusal refusal(400, "MANIFEST_BLOB_UNKNOWN",
                  fmt::format("{} lacks {} of the manifest's blobs: push or mount them first",
                              route.repository, missing.size()));
  refusal.detail = fmt::format("{{\"digests\":[{}]}}", list);
  return std::unexpected(std::move(refusal));
}

Result<bool> stores_all(blob::BlobStore& blobs, const std::vector<oci::Digest>& digests) {
  for (const auto& digest : digests) {
    RUNNEL_TRY(const auto stored, blobs.size(digest));
    if (!stored) return false;
  }
  return true;
}

// If the store has lost bytes of the manifest's blobs, all that the client is to push: those, as if
// they were unknown, and what the repository does not link. Of that it is not told what the store
// has.
Result<std::vector<oci::Digest>> lost_blobs(const Services& services, const std::string& repository,
                                            const meta::NewManifest& manifest) {
  std::vector<oci::Digest> lost;
  RUNNEL_TRY(const bool complete, stores_all(services.blobs, manifest.blobs));
  if (complete) return lost;
  for (const auto& digest : manifest.blobs) {
    RUNNEL_TRY(const auto stored, services.blobs.size(digest));
    RUNNEL_TRY(const auto linked, services.metadata.blob_size(repository, digest));
    const bool there = stored && linked;
    if (!there && std::ranges::find(lost, digest) == lost.end()) lost.push_back(digest);
  }
  return lost;
}

// Nodes mount what these say instead of the image.
bool is_streaming_artifact(const meta::NewManifest& manifest) {
  const auto& type = manifest.descriptor.artifact_type;
  return type == oci::kStreamingArtifactHere || type == oci::kStreamingArtifactElsewhere;
}

}  // namespace

Answer get_manifest(Services& services, const Route& route, const net::Request& request) {
  RUNNEL_TRY(const auto name, manifest_name(route.target));
  if (request.method == "HEAD" || request.headers.has("If-None-Match")) {
    RUNNEL_TRY(const auto info, services.metadata.manifest_info(route.key(), name));
    if (!info) return manifest_unknown(route);
    auto response = manifest_response(*info);
    if (matches_etag(request, *response.headers.first("ETag"))) {
      response.status = 304;
      return response;
    }
    if (request.method == "HEAD") {
      RUNNEL_DO(add_boot_hint(services, route, request, *info, response));
      response.content_length = info->size;
      return response;
    }
  }
  RUNNEL_TRY(auto stored, services.metadata.manifest(route.key(), name));
  if (!stored) return manifest_unknown(route);
  auto response = manifest_response(stored->info);
  RUNNEL_DO(add_boot_hint(services, route, request, stored->info, response));
  response.body = std::move(stored->bytes);
  return response;
}

std::expected<void, Refusal> check_pushed_names(const Route& route, const net::Request& request) {
  RUNNEL_DO(manifest_name(route.target));
  RUNNEL_DO(tag_parameters(request));
  return {};
}

Answer put_manifest(Services& services, const Caller& caller, const Route& route,
                    const net::Request& request, Bytes bytes) {
  RUNNEL_TRY(const auto name, manifest_name(route.target));
  RUNNEL_TRY(const auto parameters, tag_parameters(request));
  const auto content_type = request.headers.first("Content-Type").value_or("");
  const auto* wanted = std::get_if<oci::Digest>(&name);
  RUNNEL_TRY(auto manifest, read_manifest(bytes, content_type, wanted));
  // Before the digest: a client that asks with a wrong one learns whether it has the right
  // (convert::check_rights), and changes nothing.
  if (is_streaming_artifact(manifest) && !caller.may(access::Action::kConvert, route.repository))
    return std::unexpected(denied(caller, route.repository, access::Action::kConvert));
  if (wanted != nullptr && manifest.digest != *wanted)
    return refuse(400, "DIGEST_INVALID",
                  fmt::format("the manifest that came is {}, not {}", manifest.digest, *wanted));
  RUNNEL_TRY(const auto soft_delete, services.soft_delete());
  manifest.undo = soft_delete.undo();
  manifest.blobs_required = !services.config.sparse_manifests;
  manifest.tags = parameters;
  if (const auto* tag = std::get_if<std::string>(&name)) manifest.tags.push_back(*tag);

  if (manifest.blobs_required) {
    RUNNEL_TRY(const auto lost, lost_blobs(services, route.repository, manifest));
    if (!lost.empty()) return missing_blobs(route, lost);
  }
  Conversions::PushPlan plan;
  if (services.conversions != nullptr) {
    RUNNEL_TRY(plan, services.conversions->plan_push(route.repository, manifest));
  }
  if (plan.hold > Duration())
    hold_tags(manifest, route.repository, services.clock.wall(), plan.hold);
  else
    manifest.replaces = held_for(route.repository, manifest.tags);
  RUNNEL_TRY(const auto outcome, services.metadata.put_manifest(route.repository, manifest));
  if (!outcome.missing.empty()) return missing_blobs(route, outcome.missing);
  if (plan.convert)
    services.conversions->convert_pushed(route.repository, manifest.digest, caller.id());
  if (services.pushed_layers != nullptr && manifest.subject && is_streaming_artifact(manifest))
    services.pushed_layers->pushed(route.repository, *manifest.subject);

  net::Response response(201);
  response.headers.add("Location",
                       fmt::format("/v2/{}/manifests/{}", route.repository, manifest.digest));
  response.headers.add("Docker-Content-Digest", manifest.digest.to_string());
  if (manifest.subject) response.headers.add("OCI-Subject", manifest.subject->to_string());
  for (const auto& tag : parameters) response.headers.add("OCI-Tag", tag);
  return response;
}

Answer delete_manifest(Services& services, const Route& route) {
  RUNNEL_TRY(const auto name, manifest_name(route.target));
  const auto* digest = std::get_if<oci::Digest>(&name);
  RUNNEL_TRY(const auto soft_delete, services.soft_delete());
  const auto undo = soft_delete.undo();
  auto& metadata = services.metadata;
  RUNNEL_TRY(const bool existed,
             digest != nullptr ? metadata.delete_manifest(route.key(), *digest, undo,
                                                          held_for(route.repository, *digest))
                               : metadata.delete_tag(route.key(), route.target, undo,
                                                     held_for(route.repository, {route.target})));
  if (!existed) return manifest_unknown(route);
  return net::Response(202);
}

}  // namespace runnel::registry
