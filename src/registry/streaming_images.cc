// Images and their artifacts: converting one or all, deleting what was made, Teleport's question.
#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <set>

#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/attributes.h"
#include "registry/blob_api.h"
#include "registry/conversion_source.h"
#include "registry/operation_json.h"
#include "registry/streaming_call.h"
#include "registry/teleport.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using meta::Operation;

namespace {

constexpr size_t kTagsAtOnce = 1000;
constexpr size_t kMaxArtifacts = 1000;  // of one image, that one call deletes
constexpr size_t kMaxBulk = 10'000;     // images that one call asks for

net::Response brief(const StreamingCall& call, int status, const Operation& operation) {
  json::object body;
  body["id"] = operation.id;
  body["status"] = status_name(operation.status);
  auto response = streaming_answer(status, body);
  add_operation_headers(call, response, operation.id);
  return response;
}

const meta::ArtifactTypes& streaming_types() {
  static const meta::ArtifactTypes types = {std::string(oci::kStreamingArtifactHere),
                                            std::string(oci::kStreamingArtifactElsewhere)};
  return types;
}

bool is_streaming_type(const std::string& type) {
  return std::ranges::find(streaming_types(), type) != streaming_types().end();
}

Result<std::vector<oci::Digest>> artifacts_of(const StreamingCall& call, const oci::Digest& subject,
                                              size_t limit) {
  RUNNEL_TRY(const auto found,
             call.services.metadata.referrers(call.target.repository, subject, streaming_types(),
                                              std::numeric_limits<int64_t>::max(), limit));
  std::vector<oci::Digest> digests;
  digests.reserve(found.size());
  for (const auto& each : found) digests.push_back(each.digest);
  return digests;
}

// Whether it may be an image. What cannot be read any more says so when it is converted.
bool may_be_image(const StreamingCall& call, const meta::StoredManifest& stored) {
  const auto document = oci::parse_document(as_bytes(stored.bytes), stored.info.media_type);
  return !document || may_be_converted(*document, call.services.config.conversion.platforms);
}

// Every image that a tag points to, once.
std::expected<std::set<oci::Digest>, Refusal> tagged_images(const StreamingCall& call) {
  auto& metadata = call.services.metadata;
  const auto& repository = call.target.repository;
  std::set<oci::Digest> images;
  std::string after;
  while (true) {
    RUNNEL_TRY(const auto tags, metadata.tags(repository, after, kTagsAtOnce));
    if (!tags) return std::unexpected(no_such_repository(repository));
    for (const auto& tag : *tags) {
      after = tag;
      RUNNEL_TRY(const auto stored, metadata.manifest(repository, tag));
      if (stored && may_be_image(call, *stored)) images.insert(stored->info.digest);
    }
    if (tags->size() < kTagsAtOnce) return images;
    if (images.size() > kMaxBulk)
      return refuse(
          400, "UNSUPPORTED",
          fmt::format("{} has more than {} images: ask for them one by one", repository, kMaxBulk));
  }
}

// Those of an index hang on its images, too.
std::expected<std::vector<oci::Digest>, Refusal> artifacts_to_delete(const StreamingCall& call,
                                                                     const oci::Digest& digest) {
  auto& metadata = call.services.metadata;
  const auto& repository = call.target.repository;
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, digest));
  if (!stored)
    return refuse(404, "MANIFEST_UNKNOWN",
                  fmt::format("{} has no manifest {}", repository, digest));
  RUNNEL_TRY(const auto document,
             oci::parse_document(as_bytes(stored->bytes), stored->info.media_type));
  if (const auto* manifest = std::get_if<oci::Manifest>(&document))
    if (is_streaming_type(manifest->effective_artifact_type())) return std::vector{digest};
  RUNNEL_TRY(auto found, artifacts_of(call, digest, kMaxArtifacts));
  if (const auto* index = std::get_if<oci::Index>(&document))
    for (const auto& child : index->manifests) {
      RUNNEL_TRY(const auto more, artifacts_of(call, child.digest, kMaxArtifacts));
      found.insert(found.end(), more.begin(), more.end());
    }
  return found;
}

}  // namespace

Answer show_image(const StreamingCall& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto last, call.queue().last_operation(call.target.repository, digest));
  if (!last) return std::unexpected(no_such_operation());
  return brief(call, 200, *last);
}

Answer convert_image(const StreamingCall& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto body, body_object(call));
  RUNNEL_DO(text_of(body, "conversionFormat"));
  RUNNEL_DO(text_of(body, "conversionVersion"));
  RUNNEL_TRY(const auto enqueued,
             call.conversions.request({.repository = call.target.repository,
                                       .digest = digest,
                                       .priority = meta::OperationPriority::kPerson,
                                       .principal = call.caller.id()}));
  return brief(call, 202, enqueued.operation);
}

Answer convert_all(const StreamingCall& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto images, tagged_images(call));
  json::array operations;
  size_t skipped = 0;
  for (const auto& digest : images) {
    RUNNEL_TRY(const auto artifacts, artifacts_of(call, digest, 1));
    if (!artifacts.empty()) {
      ++skipped;
      continue;
    }
    RUNNEL_TRY(const auto enqueued,
               call.conversions.request({.repository = call.target.repository,
                                         .digest = digest,
                                         .priority = meta::OperationPriority::kPerson,
                                         .principal = call.caller.id()}));
    json::object one;
    one["id"] = enqueued.operation.id;
    one["digest"] = digest.to_string();
    one["status"] = status_name(enqueued.operation.status);
    operations.push_back(std::move(one));
  }
  json::object body;
  body["operations"] = std::move(operations);
  body["skipped"] = skipped;
  return streaming_answer(202, body);
}

Answer delete_artifact(const StreamingCall& call) {
  RUNNEL_DO(check(call, Action::kContentDelete, no_such_repository(call.target.repository)));
  if (!call.services.config.deletion)
    return refuse(405, "UNSUPPORTED", "deletion is switched off in this registry's configuration");
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto artifacts, artifacts_to_delete(call, digest));
  RUNNEL_TRY(const auto soft_delete, call.services.soft_delete());
  json::array deleted;
  for (const auto& each : artifacts) {
    Route route{.kind = Route::Kind::kManifest,
                .repository = call.target.repository,
                .target = each.to_string()};
    RUNNEL_DO(check_attributes(call.services.metadata, Attribute::kDelete, route));
    RUNNEL_TRY(const bool existed, call.services.metadata.delete_manifest(
                                       call.target.repository, each, soft_delete.undo()));
    if (existed) deleted.push_back(json::string(each.to_string()));
  }
  if (deleted.empty())
    return refuse(404, "MANIFEST_UNKNOWN", fmt::format("{} has no streaming artifact", digest));
  json::object body;
  body["deleted"] = std::move(deleted);
  return streaming_answer(202, body);
}

// Teleport's question: are the layers expanded?
Answer show_mount(const StreamingCall& call) {
  const auto& repository = call.target.repository;
  RUNNEL_DO(check(call, Action::kContentRead, no_such_repository(repository)));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto enabled, teleport_enabled(call.services.metadata, repository));
  if (!enabled.value_or(false))
    return refuse(404, "UNSUPPORTED", fmt::format("teleportEnabled is false on {}", repository));
  RUNNEL_TRY(const auto artifacts, artifacts_of(call, digest, 1));
  json::object body;
  body["digest"] = digest.to_string();
  body["status"] = artifacts.empty() ? "Expanding" : "Ready";
  if (!artifacts.empty()) return streaming_answer(200, body);
  RUNNEL_TRY(const auto last, call.queue().last_operation(repository, digest));
  if (last && is_ongoing(last->status)) return streaming_answer(409, body);
  // Who asks again and again should not do so for ever.
  return refuse(404, "MANIFEST_UNKNOWN",
                last ? fmt::format("{} is not expanded: its conversion is {}", digest,
                                   status_name(last->status))
                     : fmt::format("{} is not expanded: push it again", digest));
}

}  // namespace runnel::registry
