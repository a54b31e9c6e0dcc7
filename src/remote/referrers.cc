// Repository's referrers: the API of OCI 1.1, and the list under a tag where there is none
// (distribution 2.8 and 3, Docker Hub, GitLab).
//
//   GET /v2/<name>/referrers/<digest>?artifactType=…   -> an image index, in pages (Link)
//   404 -> tag "sha256-<hex>", an image index that clients keep themselves
//
// Keeping it is read, change, write, and the protocol has no compare-and-swap: two writers at once
// can lose an entry. So the list is read again after the write, and written again if need be.

#include <algorithm>
#include <utility>

#include "oci/fallback_tag.h"
#include "oci/media_types.h"
#include "remote/header_values.h"
#include "remote/repository.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr int kMaxPages = 100;
// Of all pages together, whatever is kept of them: who may push says how long the list is.
constexpr size_t kMaxListBytes = 4 * oci::kMaxDocumentBytes;
constexpr int kMaxRewrites = 5;

bool has_no_api(int status) {
  return status == 404 || status == 405 || status == 501;
}

oci::Index empty_index() {
  oci::Index index;
  index.media_type = oci::kOciIndex;
  return index;
}

oci::Descriptor brief(oci::Descriptor entry) {
  oci::Descriptor out;
  out.media_type = std::move(entry.media_type);
  out.digest = std::move(entry.digest);
  out.size = entry.size;
  out.artifact_type = std::move(entry.artifact_type);
  return out;
}

// Adds what is wanted of one page.
void take_wanted(const WantedReferrers& wanted, std::vector<oci::Descriptor> page,
                 std::vector<oci::Descriptor>& all) {
  const auto& types = wanted.artifact_types;
  for (auto& entry : page) {
    if (!types.empty() && std::ranges::find(types, entry.artifact_type) == types.end()) continue;
    all.push_back(wanted.briefly ? brief(std::move(entry)) : std::move(entry));
  }
}

}  // namespace

Result<oci::Index> Repository::referrers(const oci::Digest& subject,
                                         const WantedReferrers& wanted) const {
  RUNNEL_TRY(std::optional<oci::Index> listed, listed_referrers(subject, wanted));
  if (listed) return std::move(*listed);
  RUNNEL_TRY(oci::Index tagged, tagged_referrers(subject));
  take_wanted(wanted, std::exchange(tagged.manifests, {}), tagged.manifests);
  return tagged;
}

Result<std::optional<oci::Index>> Repository::listed_referrers(
    const oci::Digest& subject, const WantedReferrers& wanted) const {
  oci::Index all = empty_index();
  size_t bytes = 0;
  const SteadyTime start = std::chrono::steady_clock::now();
  std::string next = url(fmt::format("referrers/{}", subject));
  // The parameter takes one type; registries differ in what several mean.
  if (wanted.artifact_types.size() == 1)
    next = with_query(std::move(next), "artifactType", wanted.artifact_types.front());
  for (int page = 0; page < kMaxPages; ++page) {
    Call get = call("GET", next, Scope::pull(name_), fmt::format("referrers of {}", subject));
    get.headers.set("Accept", std::string(oci::kOciIndex));
    RUNNEL_TRY(const Answer answer, exchange_.send(get, oci::kMaxDocumentBytes));
    if (page == 0 && has_no_api(answer.status)) return std::nullopt;
    if (!answer.ok()) return exchange_.refused(get, answer);
    bytes += answer.body.size();
    if (bytes > kMaxListBytes) break;
    auto index = oci::parse_index(answer.body, answer.header("Content-Type"));
    if (!index) return std::unexpected(index.error().in(where(get.what)));
    take_wanted(wanted, std::move(index->manifests), all.manifests);
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
  return fail(Code::kExhausted, "{}: more than {} pages, {} entries or {} MiB",
              where(fmt::format("referrers of {}", subject)), kMaxPages, oci::kMaxDescriptors,
              kMaxListBytes >> 20);
}

Result<oci::Index> Repository::tagged_referrers(const oci::Digest& subject) const {
  const std::string tag = oci::fallback_tag(subject);
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
  const std::string tag = oci::fallback_tag(subject);
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
