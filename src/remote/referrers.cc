// Repository's referrers: the API of OCI 1.1, and the list under a tag where there is none
// (distribution 2.8 and 3, Docker Hub, GitLab).
//
//   GET /v2/<name>/referrers/<digest>?artifactType=…   -> an image index, in pages (Link)
//   404 -> tag "sha256-<hex>", an image index that clients keep themselves
//
// Keeping it is read, change, write, and the protocol has no compare-and-swap: two writers at once
// can lose an entry. So the list is read again after the write, and written again if need be.

#include <algorithm>

#include "oci/media_types.h"
#include "remote/header_values.h"
#include "remote/repository.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr int kMaxPages = 100;
constexpr int kMaxRewrites = 5;

bool has_no_api(int status) {
  return status == 404 || status == 405 || status == 501;
}

oci::Index empty_index() {
  oci::Index index;
  index.media_type = oci::kOciIndex;
  return index;
}

void keep_types(oci::Index& index, const std::vector<std::string>& types) {
  if (types.empty()) return;
  std::erase_if(index.manifests, [&](const oci::Descriptor& entry) {
    return std::ranges::find(types, entry.artifact_type) == types.end();
  });
}

}  // namespace

std::string referrers_tag(const oci::Digest& subject) {
  // At most 64 characters of the hex: a tag has 128 at most, and a SHA-512 as many hex digits.
  return fmt::format("{}-{}", oci::to_string(subject.algorithm()), subject.hex().substr(0, 64));
}

Result<oci::Index> Repository::referrers(const oci::Digest& subject,
                                         const std::vector<std::string>& artifact_types) const {
  // The parameter takes one type; registries differ in what several mean.
  const std::string type = artifact_types.size() == 1 ? artifact_types.front() : std::string();
  RUNNEL_TRY(std::optional<oci::Index> listed, listed_referrers(subject, type));
  if (!listed) {
    RUNNEL_TRY(listed, tagged_referrers(subject));
  }
  keep_types(*listed, artifact_types);
  return std::move(*listed);
}

Result<std::optional<oci::Index>> Repository::listed_referrers(const oci::Digest& subject,
                                                               const std::string& type) const {
  oci::Index all = empty_index();
  const SteadyTime start = std::chrono::steady_clock::now();
  std::string next = url(fmt::format("referrers/{}", subject));
  if (!type.empty()) next = with_query(std::move(next), "artifactType", type);
  for (int page = 0; page < kMaxPages; ++page) {
    Call get = call("GET", next, Scope::pull(name_), fmt::format("referrers of {}", subject));
    get.headers.set("Accept", std::string(oci::kOciIndex));
    RUNNEL_TRY(const Answer answer, exchange_.send(get, oci::kMaxDocumentBytes));
    if (page == 0 && has_no_api(answer.status)) return std::nullopt;
    if (!answer.ok()) return exchange_.refused(get, answer);
    auto index = oci::parse_index(answer.body, answer.header("Content-Type"));
    if (!index) return std::unexpected(index.error().in(where(get.what)));
    std::ranges::move(index->manifests, std::back_inserter(all.manifests));
    if (all.manifests.size() > oci::kMaxDescriptors) break;

    const auto link = next_link(answer.header("Link"));
    if (!link) return all;
    if (std::chrono::steady_clock::now() - start >= exchange_.gateway().options.small_timeout)
      return fail(Code::kUnavailable, "{}: not all of {} pages in the time for one",
                  where(get.what), page + 2);
    RUNNEL_TRY(next, resolve_url(answer.url, *link));
    if (!is_same_origin(next, exchange_.endpoint().url))
      return fail(Code::kDenied, "{}: the next page is on another host", where(get.what));
  }
  return fail(Code::kExhausted, "{}: more than {} pages or {} entries",
              where(fmt::format("referrers of {}", subject)), kMaxPages, oci::kMaxDescriptors);
}

Result<oci::Index> Repository::tagged_referrers(const oci::Digest& subject) const {
  const std::string tag = referrers_tag(subject);
  auto stored = manifest(tag);
  if (!stored && stored.error().code == Code::kNotFound) return empty_index();
  if (!stored) return std::unexpected(stored.error());
  auto index = oci::parse_index(stored->bytes, stored->media_type);
  if (!index)
    return std::unexpected(index.error().in(where("the referrers list under tag " + tag)));
  return index;
}

Result<void> Repository::add_tagged_referrer(const oci::Digest& subject,
                                             const oci::Descriptor& entry) const {
  const std::string tag = referrers_tag(subject);
  for (int done = 0; done < kMaxRewrites; ++done) {
    RUNNEL_TRY(oci::Index index, tagged_referrers(subject));
    const auto found = std::ranges::find(index.manifests, entry.digest, &oci::Descriptor::digest);
    if (found != index.manifests.end() && *found == entry) return {};
    if (found != index.manifests.end()) {
      *found = entry;
    } else {
      index.manifests.push_back(entry);
    }
    const std::string json = oci::to_json(index);
    RUNNEL_DO(push_manifest(tag, oci::kOciIndex, as_bytes(json)));
  }
  return fail(Code::kConflict,
              "{}: others keep changing the referrers list under tag {}; try again",
              where(fmt::format("referrers of {}", subject)), tag);
}

Result<oci::Descriptor> Repository::push_referrer(const oci::Manifest& manifest) const {
  if (!manifest.subject) return fail(Code::kInvalid, "a referrer without a subject");
  const std::string json = oci::to_json(manifest);
  oci::Descriptor entry;
  entry.media_type = manifest.media_type;
  entry.digest = oci::Digest::of(as_bytes(json));
  entry.size = json.size();
  entry.annotations = manifest.annotations;
  entry.artifact_type = manifest.effective_artifact_type();

  RUNNEL_TRY(const PushedManifest pushed,
             push_manifest(entry.digest.to_string(), manifest.media_type, as_bytes(json)));
  if (!pushed.subject_seen) RUNNEL_DO(add_tagged_referrer(manifest.subject->digest, entry));
  return entry;
}

}  // namespace runnel::remote
