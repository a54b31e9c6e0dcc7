// The manifests of a repository, found from its tags: what each points to, what an index holds, and
// what refers to those, which says most of each; then, where the registry has a list of all, those
// that nothing leads to.
#include <boost/json.hpp>
#include <map>

#include "cli/answer.h"
#include "cli/attributes.h"
#include "cli/manifest.h"
#include "oci/document.h"
#include "oci/media_types.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

// A repository with more is better asked tag by tag.
constexpr size_t kMaxManifests = 100'000;
constexpr int kMaxDepth = 8;

struct Listed {
  oci::Descriptor descriptor;
  std::vector<std::string> tags;
};

class Walk {
 public:
  explicit Walk(remote::Repository repository) : repository_(std::move(repository)) {}

  Result<void> add_tag(const std::string& tag) {
    const auto found = repository_.resolve(tag);
    // It may have been deleted since the tags were listed.
    if (!found && found.error().code == Code::kNotFound) return {};
    if (!found) return std::unexpected(found.error());
    RUNNEL_DO(add(*found, 0));
    all_.at(found->digest).tags.push_back(tag);
    return {};
  }

  // One that nothing led to.
  Result<void> add_alone(const oci::Digest& digest) {
    if (all_.contains(digest)) return {};
    const auto found = repository_.resolve(digest.to_string());
    if (!found && found.error().code == Code::kNotFound) return {};
    if (!found) return std::unexpected(found.error());
    return add(*found, 0);
  }

  const std::map<oci::Digest, Listed>& all() const { return all_; }

 private:
  Result<void> add(const oci::Descriptor& descriptor, int depth) {
    if (depth > kMaxDepth || !all_.emplace(descriptor.digest, Listed{descriptor, {}}).second)
      return {};
    if (all_.size() > kMaxManifests)
      return fail(Code::kExhausted, "{}/{} has more than {} manifests", repository_.host(),
                  repository_.name(), kMaxManifests);
    if (oci::is_index_type(descriptor.media_type)) RUNNEL_DO(add_children(descriptor, depth));
    RUNNEL_TRY(const auto referrers, repository_.referrers(descriptor.digest));
    for (const auto& each : referrers.manifests) RUNNEL_DO(add(each, depth + 1));
    return {};
  }

  // Those that the repository has: clients copy one platform of many.
  Result<void> add_children(const oci::Descriptor& index, int depth) {
    RUNNEL_TRY(const auto stored, repository_.manifest(index.digest.to_string()));
    RUNNEL_TRY(const auto parsed, oci::parse_index(stored.bytes, stored.media_type));
    for (const auto& child : parsed.manifests) {
      const auto found = repository_.resolve(child.digest.to_string());
      if (!found && found.error().code == Code::kNotFound) continue;
      if (!found) return std::unexpected(found.error());
      auto described = *found;
      described.platform = child.platform;
      RUNNEL_DO(add(described, depth + 1));
    }
    return {};
  }

  const remote::Repository repository_;
  std::map<oci::Digest, Listed> all_;
};

json::object describe(const Listed& listed) {
  const auto& descriptor = listed.descriptor;
  json::object out;
  out["digest"] = descriptor.digest.to_string();
  out["mediaType"] = descriptor.media_type;
  if (!descriptor.artifact_type.empty()) out["artifactType"] = descriptor.artifact_type;
  if (descriptor.platform) {
    out["os"] = descriptor.platform->os;
    out["architecture"] = descriptor.platform->architecture;
  }
  out["size"] = descriptor.size;
  out["tags"] = json::array(listed.tags.begin(), listed.tags.end());
  return out;
}

// Those that the registry's own list has; none where there is no such list: it is no part of the
// distribution API.
Result<json::array> listed_by_registry(const Session& session, const std::string& repository) {
  remote::ApiCall call;
  call.path = fmt::format("/acr/v1/{}/_manifests?n=1000", repository);
  call.repository = repository;
  call.scope = repository_scope(repository, "metadata_read");
  call.what = "manifests";
  RUNNEL_TRY(const auto answer, session.send(call));
  if (!answer.ok() && (answer.status == 404 || answer.status == 405)) return json::array();
  return session.list(std::move(call), "manifests", kMaxManifests);
}

Result<void> add_listed(Walk& walk, const Session& session, const std::string& repository) {
  RUNNEL_TRY(const auto listed, listed_by_registry(session, repository));
  for (const auto& each : listed) {
    const auto* object = each.if_object();
    if (object == nullptr) continue;
    const auto digest = oci::Digest::parse(text_of(*object, "digest"));
    if (digest) RUNNEL_DO(walk.add_alone(*digest));
  }
  return {};
}

Outcome<void> list(const ManifestOptions& options, bool with_attributes) {
  RUNNEL_TRY(const auto image, ImageName::parse(options.name));
  RUNNEL_TRY(const auto session, Session::open(options.api, image.host));
  remote::ApiCall call;
  call.path = fmt::format("/v2/{}/tags/list", image.repository);
  call.repository = image.repository;
  call.scope = repository_scope(image.repository, "metadata_read");
  call.what = "tags";
  RUNNEL_TRY(const auto tags, session.list(std::move(call), "tags", kMaxManifests));
  Walk walk(session.repository(image.repository));
  for (const auto& tag : tags)
    if (tag.is_string()) RUNNEL_DO(walk.add_tag(std::string(tag.get_string())));
  RUNNEL_DO(add_listed(walk, session, image.repository));
  json::array out;
  for (const auto& [digest, listed] : walk.all()) {
    if (out.size() == options.top.value_or(kMaxManifests)) break;
    auto each = describe(listed);
    if (with_attributes) {
      RUNNEL_TRY(const auto shown, read_attributes(session, {image.repository, "", digest}));
      const auto* object = shown.if_object();
      const auto* found = object != nullptr ? object->if_contains("changeableAttributes") : nullptr;
      if (found != nullptr) each["changeableAttributes"] = *found;
    }
    out.push_back(std::move(each));
  }
  return show(options.api.output, out);
}

}  // namespace

int manifest_list(const ManifestOptions& options) {
  return exit_code(list(options, false));
}

int manifest_list_metadata(const ManifestOptions& options) {
  return exit_code(list(options, true));
}

}  // namespace runnel::cli
