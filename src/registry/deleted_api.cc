#include "registry/deleted_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <set>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/held_tags.h"
#include "registry/public_name.h"
#include "registry/request_body.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using meta::Deletion;

namespace {

constexpr std::string_view kRoot = "/acr/v1/_deleted/";
constexpr std::string_view kCatalog = "_catalog";
constexpr std::string_view kTags = "/_tags";
constexpr std::string_view kManifests = "/_manifests";
constexpr size_t kMaxBody = 64 * 1024;
constexpr size_t kMaxDeletions = 10'000;
constexpr size_t kBatch = 500;

// What every call here looks at.
struct Call {
  Services& services;
  const Caller& caller;
  const net::Request& request;
  Bytes body;
};

// Newest first; of one repository, or of all.
Result<std::vector<Deletion>> deletions_of(const Call& call, std::string_view repository) {
  std::vector<Deletion> found;
  auto before = std::numeric_limits<int64_t>::max();
  while (found.size() < kMaxDeletions) {
    RUNNEL_TRY(auto batch, call.services.metadata.deletions(repository, before, kBatch));
    if (batch.empty()) break;
    before = batch.back().id;
    std::ranges::move(batch, std::back_inserter(found));
  }
  return found;
}

net::Response ok(const json::object& body) {
  return json_response(200, "application/json", json::serialize(body));
}

Answer list_repositories(const Call& call) {
  const auto* gate = call.services.gate;
  if (gate != nullptr && (call.caller.is_anonymous() || !call.caller.may_list_catalog()))
    return std::unexpected(gate->unauthorized(call.request, to_string(access::Scope::catalog()), "",
                                              "log in to list what was deleted"));
  RUNNEL_TRY(const auto deletions, deletions_of(call, ""));
  std::set<std::string> names;
  for (const auto& each : deletions)
    if (call.caller.granted(each.repository).has(Action::kMetadataRead))
      names.insert(each.repository);
  json::object body;
  body["repositories"] = json::array(names.begin(), names.end());
  return ok(body);
}

Refusal nothing_deleted(std::string_view repository) {
  return {404, "NAME_UNKNOWN", fmt::format("nothing of {} was deleted", repository)};
}

std::expected<void, Refusal> check(const Call& call, std::string_view repository, Action action) {
  if (!oci::is_valid_repository(repository))
    return refuse(400, "NAME_INVALID",
                  fmt::format("{} is not a repository's name", quote(repository)));
  const Deed deed{.action = action, .repository = repository, .seeing = Action::kMetadataRead};
  return authorize_deed(call.services.gate, call.caller, deed, call.request,
                        nothing_deleted(repository));
}

json::object listing(const Call& call, std::string_view repository, std::string_view member,
                     json::array listed) {
  json::object body;
  body["registry"] = public_host(call.services.config, call.request);
  body["imageName"] = repository;
  body[member] = std::move(listed);
  return body;
}

json::object entry_of(const Deletion& deletion) {
  json::object out;
  out["digest"] = deletion.digest.to_string();
  out["deletedAt"] = to_utc_text(deletion.deleted);
  return out;
}

Answer list_manifests(const Call& call, std::string_view repository) {
  RUNNEL_DO(check(call, repository, Action::kMetadataRead));
  RUNNEL_TRY(const auto deletions, deletions_of(call, repository));
  json::array listed;
  for (auto each = deletions.rbegin(); each != deletions.rend(); ++each) {
    if (each->kind != Deletion::Kind::kManifest) continue;
    auto one = entry_of(*each);
    one["tags"] = json::array(each->tags.begin(), each->tags.end());
    listed.push_back(std::move(one));
  }
  return ok(listing(call, repository, "manifests", std::move(listed)));
}

Answer list_tags(const Call& call, std::string_view repository) {
  RUNNEL_DO(check(call, repository, Action::kMetadataRead));
  RUNNEL_TRY(const auto deletions, deletions_of(call, repository));
  json::array listed;
  for (auto each = deletions.rbegin(); each != deletions.rend(); ++each) {
    if (each->digest.empty())
      continue;  // a repository's: `runnel repository list-deleted` shows it
    for (const auto& tag : each->tags) {
      auto one = entry_of(*each);
      one["tag"] = tag;
      listed.push_back(std::move(one));
    }
  }
  return ok(listing(call, repository, "tags", std::move(listed)));
}

std::expected<std::string, Refusal> wanted_tag(Bytes body) {
  if (body.empty()) return "";
  json::error_code failed;
  const auto value = json::parse(as_text(body), failed);
  const auto* object = failed ? nullptr : value.if_object();
  const auto* tag = object != nullptr ? object->if_contains("tag") : nullptr;
  if (object == nullptr || (tag != nullptr && !tag->is_string()))
    return refuse(400, "UNSUPPORTED", "the body is {\"tag\": TAG}");
  if (tag == nullptr || tag->get_string().empty()) return "";
  if (!oci::is_valid_tag(tag->get_string()))
    return refuse(400, "TAG_INVALID", fmt::format("{} is not a tag", quote(tag->get_string())));
  return std::string(tag->get_string());
}

// The deletion that a request to restore means: of the newest that has the digest, one with the tag
// goes before one without.
const Deletion* deletion_of(const std::vector<Deletion>& deletions, const oci::Digest& digest,
                            const std::string& tag) {
  const Deletion* found = nullptr;
  for (const auto& each : deletions) {
    if (each.digest != digest) continue;
    if (tag.empty() || std::ranges::find(each.tags, tag) != each.tags.end()) return &each;
    if (found == nullptr) found = &each;
  }
  return found;
}

// What the deletion of a tag, or of what it pointed to, brings back: as if the tag were named, so
// that it is not moved without being told to. Empty for a manifest's.
std::string only_tag_of(const Deletion& deletion) {
  const bool of_tag =
      deletion.kind == Deletion::Kind::kTag || deletion.kind == Deletion::Kind::kOverwrite;
  return of_tag && deletion.tags.size() == 1 ? deletion.tags.front() : std::string();
}

Answer restore(const Call& call, std::string_view repository, std::string_view reference) {
  RUNNEL_TRY(const auto digest, digest_of(reference));
  RUNNEL_DO(check(call, repository, Action::kContentWrite));
  RUNNEL_TRY(auto tag, wanted_tag(call.body));
  auto& metadata = call.services.metadata;
  RUNNEL_TRY(const auto deletions, deletions_of(call, repository));
  const auto* found = deletion_of(deletions, digest, tag);
  if (found == nullptr)
    return refuse(404, "MANIFEST_UNKNOWN",
                  fmt::format("{} has no deleted manifest {}", repository, digest));
  if (tag.empty()) tag = only_tag_of(*found);
  const auto force = call.request.query.first("force").value_or("");
  RUNNEL_TRY(const auto now, metadata.manifest_info(repository, tag));
  const bool moves = !tag.empty() && now && now->digest != digest;
  if (moves && force != "true" && force != "True")
    return refuse(
        409, "CONFLICT",
        fmt::format("{}:{} is {} now: force=true moves it", repository, tag, now->digest));
  RUNNEL_DO(check_restore(metadata, *found));
  std::optional<meta::TagMove> move;
  if (!tag.empty()) move.emplace(tag, now ? std::optional(now->digest) : std::nullopt);
  if (moves) {
    const Route route{
        .kind = Route::Kind::kManifest, .repository = std::string(repository), .target = tag};
    RUNNEL_DO(check_attributes(metadata, Attribute::kWrite, route));
    move->waiting = held_for(repository, {tag});
  }
  RUNNEL_TRY(const auto restored, metadata.restore(found->id, move));
  if (!restored) return refuse(409, "CONFLICT", fmt::format("{} came back meanwhile", digest));
  json::object body;
  body["registry"] = public_host(call.services.config, call.request);
  body["imageName"] = repository;
  body["digest"] = digest.to_string();
  body["tags"] = json::array(restored->tags.begin(), restored->tags.end());
  return ok(body);
}

Answer answer(const Call& call) {
  auto path = std::string_view(call.request.path).substr(kRoot.size());
  const bool get = call.request.method == "GET";
  if (get && path == kCatalog) return list_repositories(call);
  if (get && path.ends_with(kTags)) return list_tags(call, path.substr(0, path.rfind(kTags)));
  if (get && path.ends_with(kManifests))
    return list_manifests(call, path.substr(0, path.rfind(kManifests)));
  const auto at = path.rfind(fmt::format("{}/", kManifests));
  if (call.request.method == "POST" && at != std::string_view::npos)
    return restore(call, path.substr(0, at), path.substr(at + kManifests.size() + 1));
  return refuse(405, "UNSUPPORTED",
                fmt::format("{} is not possible here", quote(call.request.method)));
}

}  // namespace

bool is_deleted(const net::Request& request) {
  return request.path.starts_with(kRoot);
}

net::awaitable<Answer> handle_deleted(Services& services, net::Request& request,
                                      net::RequestBody& body) {
  const auto caller = co_await identify(services.gate, request);
  if (!caller) co_return std::unexpected(caller.error());
  const auto bytes = co_await read_whole(body, kMaxBody);
  if (!bytes) co_return std::unexpected(Refusal(bytes.error()));
  auto work = [&] { return answer({services, *caller, request, *bytes}); };
  auto& pool = request.method == "GET" ? services.readers : services.writers;
  co_return co_await net::on_pool(pool, std::move(work));
}

}  // namespace runnel::registry
