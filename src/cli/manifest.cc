#include "cli/manifest.h"

#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/attributes.h"
#include "cli/deletions.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr int kMaxReferrersDepth = 8;

struct Opened {
  Session session;
  ImageName image;
};

Outcome<Opened> open(const ManifestOptions& options) {
  RUNNEL_TRY(auto image, ImageName::parse(options.name));
  RUNNEL_TRY(auto session, Session::open(options.api, image.host));
  return Opened{std::move(session), std::move(image)};
}

// Members in the order in which the API's recorded answers have them.
json::object describe(const oci::Descriptor& entry) {
  json::object out;
  if (!entry.annotations.empty()) {
    json::object annotations;
    for (const auto& [name, value] : entry.annotations) annotations[name] = value;
    out["annotations"] = std::move(annotations);
  }
  if (!entry.artifact_type.empty()) out["artifactType"] = entry.artifact_type;
  out["digest"] = entry.digest.to_string();
  out["mediaType"] = entry.media_type;
  out["size"] = entry.size;
  return out;
}

Result<json::array> referrers_of(const remote::Repository& repository, const oci::Digest& subject,
                                 const ManifestOptions& options, int depth) {
  remote::WantedReferrers wanted;
  if (!options.artifact_type.empty()) wanted.artifact_types.push_back(options.artifact_type);
  RUNNEL_TRY(const auto found, repository.referrers(subject, wanted));
  json::array out;
  for (const auto& entry : found.manifests) {
    auto each = describe(entry);
    if (options.recursive && depth < kMaxReferrersDepth) {
      RUNNEL_TRY(auto below, referrers_of(repository, entry.digest, options, depth + 1));
      if (!below.empty()) each["referrers"] = std::move(below);
    }
    out.push_back(std::move(each));
  }
  return out;
}

Outcome<void> list_referrers(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(const auto digest, opened.session.resolve(opened.image));
  RUNNEL_TRY(auto found,
             referrers_of(opened.session.repository(opened.image.repository), digest, options, 1));
  return show(options.api.output, json::object{{"manifests", std::move(found)}});
}

Outcome<void> show_manifest(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(const auto found,
             opened.session.repository(opened.image.repository).manifest(opened.image.target()));
  json::error_code wrong;
  const auto parsed = json::parse(as_text(found.bytes), wrong);
  if (wrong) return fail(Code::kInvalid, "{} is not JSON", opened.image.text());
  return show(options.api.output, parsed);
}

Outcome<void> show_metadata(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(const auto digest, opened.session.resolve(opened.image));
  RUNNEL_TRY(const auto shown,
             read_attributes(opened.session, {opened.image.repository, "", digest}));
  return show(options.api.output, shown);
}

Outcome<void> update_metadata(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  const auto& image = opened.image;
  RUNNEL_TRY(const auto shown,
             change_attributes(opened.session, {image.repository, image.tag, image.digest},
                               options.attributes));
  return show(options.api.output, shown);
}

Outcome<void> remove(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  const auto& repository = opened.image.repository;
  RUNNEL_TRY(const auto digest, opened.session.resolve(opened.image));
  RUNNEL_DO(confirm(options.api.yes,
                    fmt::format("Are you sure you want to delete the artifact '{}' and its "
                                "streaming artifacts?",
                                opened.image.text())));
  remote::ApiCall call;
  call.method = "DELETE";
  call.repository = repository;
  call.path = fmt::format("/v2/{}/manifests/{}", repository, digest);
  call.scope = repository_scope(repository, "pull,delete,metadata_read");
  call.what = fmt::format("manifest {}", digest);
  RUNNEL_TRY([[maybe_unused]] const auto gone, opened.session.call(call));
  return {};
}

// What was deleted together with what, in the names of the recorded API.
json::object described(const json::object& deletion) {
  json::object out;
  for (const auto& [theirs, ours] :
       {std::pair("deletedAt", "deletedAt"), std::pair("digest", "digest"),
        std::pair("expiresAfter", "expiresAt"), std::pair("kind", "kind"), std::pair("id", "id"),
        std::pair("tags", "tags")})
    if (const auto* found = deletion.if_contains(ours)) out[theirs] = *found;
  return out;
}

Outcome<void> list_deleted(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  RUNNEL_TRY(const auto deletions, list_deletions(opened.session, opened.image.repository));
  json::array out;
  for (const auto& each : deletions) {
    const auto kind = text_of(each.as_object(), "kind");
    if (kind == "manifest" || kind == "repository") out.push_back(described(each.as_object()));
  }
  return show(options.api.output, out);
}

// Every tag that is in a deletion, or only this one.
Result<json::array> deleted_tags(const Session& session, const ImageName& image,
                                 std::string_view only) {
  RUNNEL_TRY(const auto deletions, list_deletions(session, image.repository));
  json::array out;
  for (const auto& each : deletions) {
    const auto& deletion = each.as_object();
    const auto* tags = deletion.if_contains("tags");
    if (tags == nullptr || !tags->is_array()) continue;
    for (const auto& tag : tags->get_array()) {
      if (!tag.is_string() || (!only.empty() && tag.get_string() != only)) continue;
      auto entry = described(deletion);
      entry.erase("tags");
      entry["tag"] = tag;
      out.push_back(std::move(entry));
    }
  }
  return out;
}

bool names_a_tag(std::string_view name) {
  const auto colon = name.rfind(':');
  return colon != std::string_view::npos && name.find('/', colon) == std::string_view::npos;
}

Outcome<void> list_deleted_tags(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  const auto& image = opened.image;
  RUNNEL_TRY(const auto out, deleted_tags(opened.session, image,
                                          names_a_tag(options.name) ? image.tag : std::string()));
  return show(options.api.output, out);
}

// The newest deletion of the digest, or of the tag.
Result<json::object> find_deletion(const Session& session, const ImageName& image,
                                   const std::string& digest) {
  RUNNEL_TRY(const auto deletions, list_deletions(session, image.repository));
  for (const auto& each : deletions) {
    const auto& deletion = each.as_object();
    const auto* tags = deletion.if_contains("tags");
    const bool has_tag =
        tags != nullptr && tags->is_array() &&
        std::ranges::find(tags->get_array(), json::value(image.tag)) != tags->get_array().end();
    const bool fits = digest.empty() ? has_tag : text_of(deletion, "digest") == digest;
    if (fits) return deletion;
  }
  return fail(Code::kNotFound,
              "{}: nothing of {} was deleted that can come back; runnel manifest list-deleted-tags "
              "-r {} -n {} shows what can",
              session.host(), digest.empty() ? image.text() : digest, session.host(),
              image.repository);
}

// "REPO:TAG is DIGEST now" of a tag that undoing this would take away from what was pushed since.
// Only a deletion of a tag, or of what a push over it replaced, does so: from all others the
// registry leaves such a tag out.
Result<std::optional<std::string>> moved_tag(const Session& session, const std::string& repository,
                                             const json::object& deletion) {
  const auto kind = text_of(deletion, "kind");
  const auto* tags = deletion.if_contains("tags");
  const bool of_tag = kind == "tag" || kind == "overwrite";
  if (!of_tag || tags == nullptr || !tags->is_array()) return std::nullopt;
  for (const auto& each : tags->get_array()) {
    if (!each.is_string()) continue;
    const std::string tag(each.get_string());
    const auto now = read_attributes(session, {repository, tag, std::nullopt});
    if (!now && now.error().code == Code::kNotFound) continue;
    if (!now) return std::unexpected(now.error());
    const auto digest = now->is_object() ? text_of(now->get_object(), "digest") : std::string();
    if (!digest.empty() && digest != text_of(deletion, "digest"))
      return fmt::format("{}:{} is {} now", repository, tag, digest);
  }
  return std::nullopt;
}

// Points the tag to the manifest that came back.
Result<void> retag(const Session& session, const ImageName& image, const std::string& digest) {
  const auto repository = session.repository(image.repository);
  RUNNEL_TRY(const auto manifest, repository.manifest(digest));
  RUNNEL_TRY([[maybe_unused]] const auto pushed,
             repository.push_manifest(image.tag, manifest.media_type, manifest.bytes));
  return {};
}

Outcome<void> restore(const ManifestOptions& options) {
  RUNNEL_TRY(const auto opened, open(options));
  const auto& image = opened.image;
  const auto wanted = image.digest ? image.digest->to_string() : options.digest;
  RUNNEL_TRY(const auto deletion, find_deletion(opened.session, image, wanted));
  const auto digest = text_of(deletion, "digest");
  RUNNEL_TRY(const auto moved, moved_tag(opened.session, image.repository, deletion));
  if (moved && !options.force)
    return fail(Code::kConflict, "{}: {}: --force moves it", opened.session.host(), *moved);
  if (options.force && (moved || !image.tag.empty()))
    RUNNEL_DO(confirm(
        options.api.yes,
        fmt::format("Are you sure you want to restore '{}' over what it is now?", image.text())));
  remote::ApiCall call;
  call.method = "POST";
  call.repository = image.repository;
  call.path = fmt::format("/runnel/v1/_soft-delete/{}:restore", json::serialize(deletion.at("id")));
  call.what = fmt::format("restore {}", image.text());
  call.in_person = true;
  RUNNEL_TRY(auto answer, opened.session.call(call));
  auto* object = answer.if_object();
  const auto* kept = object != nullptr ? object->if_contains("keptTags") : nullptr;
  if (kept != nullptr && kept->is_array() && !kept->get_array().empty()) {
    if (options.force && !digest.empty() && !image.tag.empty()) {
      RUNNEL_DO(retag(opened.session, image, digest));
    } else {
      warn(
          fmt::format("Tags that were pushed again since stay what they are: {}. --force moves "
                      "the tag of the command to what came back.",
                      json::serialize(*kept)));
    }
  }
  if (object != nullptr && !digest.empty()) (*object)["digest"] = digest;
  return show(options.api.output, answer);
}

}  // namespace

int manifest_list_referrers(const ManifestOptions& options) {
  return exit_code(list_referrers(options));
}

int manifest_show(const ManifestOptions& options) {
  return exit_code(show_manifest(options));
}

int manifest_show_metadata(const ManifestOptions& options) {
  return exit_code(show_metadata(options));
}

int manifest_update_metadata(const ManifestOptions& options) {
  return exit_code(update_metadata(options));
}

int manifest_delete(const ManifestOptions& options) {
  return exit_code(remove(options));
}

int manifest_list_deleted(const ManifestOptions& options) {
  return exit_code(list_deleted(options));
}

int manifest_list_deleted_tags(const ManifestOptions& options) {
  return exit_code(list_deleted_tags(options));
}

int manifest_restore(const ManifestOptions& options) {
  return exit_code(restore(options));
}

}  // namespace runnel::cli
