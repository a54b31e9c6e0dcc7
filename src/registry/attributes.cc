#include "registry/attributes.h"

#include <algorithm>
#include <boost/json.hpp>

#include "oci/digest.h"
#include "oci/reference.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "attributes";
constexpr size_t kPage = 500;
constexpr int kAttempts = 10;  // to change a document that others change too
constexpr std::array<Attribute, kAttributes> kAll = {Attribute::kRead, Attribute::kWrite,
                                                     Attribute::kDelete, Attribute::kList};

// "team/app *", "team/app v1": a space is in no name, and sorts before all that may be.
std::string document_name(std::string_view repository, std::string_view reference) {
  return fmt::format("{} {}", repository, reference);
}

Result<Attributes> read_document(const meta::Document& document) {
  json::error_code failed;
  const auto value = json::parse(document.body, failed);
  if (failed || !value.is_object())
    return fail(Code::kInvalid, "the attributes of {} cannot be read", document.name);
  Attributes made;
  for (const auto each : kAll) {
    const auto* found = value.get_object().if_contains(attribute_name(each));
    if (found != nullptr && found->is_bool()) made.set(each, found->get_bool());
  }
  return made;
}

bool is_digest(std::string_view reference) {
  return reference.find(':') != std::string_view::npos;
}

// What a push can begin. Not "*": that is the repository's own document.
bool is_name(std::string_view reference) {
  return oci::is_valid_tag(reference) || oci::Digest::parse(reference);
}

Refusal switched_off(std::string_view repository, std::string_view reference, Attribute attribute) {
  const auto what = reference == "*"       ? std::string(repository)
                    : is_digest(reference) ? fmt::format("{}@{}", repository, reference)
                                           : fmt::format("{}:{}", repository, reference);
  const bool deletes = attribute == Attribute::kDelete;
  const auto rule = fmt::format("{} is false on {}", attribute_name(attribute), what);
  Refusal refusal(deletes ? 405 : 403, deletes ? "UNSUPPORTED" : "DENIED", rule);
  json::object detail;
  detail["repository"] = repository;
  detail["rule"] = rule;
  refusal.detail = json::serialize(detail);
  return refusal;
}

// What one request looks up. Most repositories have no attributes, and then it is one look.
class Lookup {
 public:
  static Result<Lookup> begin(meta::MetadataStore& metadata, std::string_view repository) {
    Lookup made(metadata, repository);
    const auto prefix = document_name(repository, "");
    // "*" sorts before all that may be a tag or a digest.
    RUNNEL_TRY(const auto first, metadata.documents(kKind, prefix, 2));
    for (const auto& document : first) {
      if (!document.name.starts_with(prefix)) break;
      if (document.name == prefix + "*") {
        RUNNEL_TRY(made.own_, read_document(document));
        made.has_own_ = true;
      } else {
        made.has_others_ = true;
      }
    }
    return made;
  }

  bool has_own() const { return has_own_; }
  bool has_others() const { return has_others_; }
  bool may(Attribute attribute) const { return own_.has(attribute); }
  Result<bool> may(Attribute attribute, std::string_view reference) const {
    if (!has_others_) return true;
    RUNNEL_TRY(const auto found, attributes_of(metadata_, repository_, reference));
    return found.has(attribute);
  }

  // Refuses when one of these lacks it.
  template <class References>
  std::expected<void, Refusal> require(Attribute attribute, const References& references) const {
    if (!may(attribute)) return std::unexpected(switched_off(repository_, "*", attribute));
    for (const auto& reference : references) {
      RUNNEL_TRY(const bool allowed, may(attribute, reference));
      if (!allowed) return std::unexpected(switched_off(repository_, reference, attribute));
    }
    return {};
  }

 private:
  Lookup(meta::MetadataStore& metadata, std::string_view repository)
      : metadata_(metadata), repository_(repository) {}

  meta::MetadataStore& metadata_;
  std::string_view repository_;
  Attributes own_;
  bool has_own_ = false;
  bool has_others_ = false;
};

meta::ManifestName manifest_name(std::string_view reference) {
  if (auto digest = oci::Digest::parse(reference)) return *std::move(digest);
  return std::string(reference);
}

// What is touched with the manifest that the route names: reading by tag reads a manifest, deleting
// one takes its tags and its artifacts along.
Result<std::vector<std::string>> touched_with(meta::MetadataStore& metadata, Attribute attribute,
                                              const Route& route) {
  const auto name = manifest_name(route.target);
  const auto* digest = std::get_if<oci::Digest>(&name);
  std::vector<std::string> touched;
  if (attribute == Attribute::kRead && digest == nullptr) {
    RUNNEL_TRY(const auto info, metadata.manifest_info(route.repository, name));
    if (info) touched.push_back(info->digest.to_string());
  }
  if (attribute == Attribute::kDelete && digest != nullptr)
    return metadata.taken_with(route.repository, *digest);
  return touched;
}

std::vector<std::string> names_of(const meta::Deletion& deletion) {
  auto names = deletion.tags;
  if (!deletion.digest.empty()) names.push_back(deletion.digest.to_string());
  return names;
}

Result<void> forget_if_absent(meta::MetadataStore& metadata, std::string_view repository,
                              std::string_view reference) {
  if (!is_name(reference)) return {};
  RUNNEL_TRY(const auto info, metadata.manifest_info(repository, manifest_name(reference)));
  if (info) return {};
  RUNNEL_DO(metadata.delete_document(kKind, document_name(repository, reference)));
  return {};
}

}  // namespace

std::string_view attribute_name(Attribute attribute) {
  switch (attribute) {
    case Attribute::kRead: return "readEnabled";
    case Attribute::kWrite: return "writeEnabled";
    case Attribute::kDelete: return "deleteEnabled";
    case Attribute::kList: return "listEnabled";
  }
  return "";
}

Result<RepositoryAttributes> RepositoryAttributes::load(meta::MetadataStore& metadata,
                                                        std::string_view repository) {
  RepositoryAttributes made;
  RUNNEL_DO(made.read_from(metadata, repository, "", [](std::string_view) { return false; }));
  return made;
}

Result<RepositoryAttributes> RepositoryAttributes::load_between(meta::MetadataStore& metadata,
                                                                std::string_view repository,
                                                                std::string_view after,
                                                                std::string_view last) {
  RepositoryAttributes made;
  // "*" sorts before all that may be a tag or a digest.
  const auto own = [](std::string_view name) { return name != "*"; };
  RUNNEL_DO(made.read_from(metadata, repository, "", own));
  const auto behind = [last](std::string_view name) { return name > last; };
  RUNNEL_DO(made.read_from(metadata, repository, std::max<std::string_view>(after, "*"), behind));
  return made;
}

Result<void> RepositoryAttributes::read_from(meta::MetadataStore& metadata,
                                             std::string_view repository, std::string_view after,
                                             const std::function<bool(std::string_view)>& ends) {
  const auto prefix = document_name(repository, "");
  auto at = document_name(repository, after);
  // Most repositories have none: one look.
  for (size_t limit = 1;; limit = kPage) {
    RUNNEL_TRY(const auto page, metadata.documents(kKind, at, limit));
    for (const auto& document : page) {
      if (!document.name.starts_with(prefix)) return {};
      const auto name = document.name.substr(prefix.size());
      if (ends(name)) return {};
      RUNNEL_TRY(all_[name], read_document(document));
      at = document.name;
    }
    if (page.size() < limit) return {};
  }
}

Attributes RepositoryAttributes::of(std::string_view reference) const {
  const auto found = all_.find(reference);
  return found == all_.end() ? Attributes() : found->second;
}

Result<Attributes> attributes_of(meta::MetadataStore& metadata, std::string_view repository,
                                 std::string_view reference) {
  RUNNEL_TRY(const auto found, metadata.document(kKind, document_name(repository, reference)));
  if (!found) return Attributes();
  return read_document(*found);
}

Result<bool> any_digest_has_attributes(meta::MetadataStore& metadata, std::string_view repository) {
  for (const auto algorithm : {oci::Algorithm::kSha256, oci::Algorithm::kSha512}) {
    const auto prefix = document_name(repository, oci::to_string(algorithm)) + ":";
    RUNNEL_TRY(const auto first, metadata.documents(kKind, prefix, 1));
    if (!first.empty() && first.front().name.starts_with(prefix)) return true;
  }
  return false;
}

std::expected<Attributes, Refusal> change_attributes(meta::MetadataStore& metadata,
                                                     std::string_view repository,
                                                     std::string_view reference,
                                                     const ChangeAttributes& change) {
  const auto name = document_name(repository, reference);
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto before, metadata.document(kKind, name));
    Attributes attributes;
    if (before) {
      RUNNEL_TRY(attributes, read_document(*before));
    }
    RUNNEL_DO(change(attributes));
    json::object body;
    for (const auto each : kAll) body[attribute_name(each)] = attributes.has(each);
    const auto put =
        metadata.put_document(kKind, name, json::serialize(body), before ? before->version : 0);
    if (put) return attributes;
    if (put.error().code != Code::kConflict || attempt == kAttempts)
      return std::unexpected(Refusal(put.error()));
  }
}

Result<void> begin_names_anew(meta::MetadataStore& metadata, const Route& route,
                              const std::vector<std::string_view>& tags) {
  if (route.hidden) return {};
  const auto& repository = route.repository;
  RUNNEL_TRY(const auto lookup, Lookup::begin(metadata, repository));
  if (lookup.has_own()) {
    RUNNEL_TRY(const bool exists, metadata.repository_exists(repository));
    if (!exists) RUNNEL_DO(metadata.delete_document(kKind, document_name(repository, "*")));
  }
  if (!lookup.has_others() || route.kind != Route::Kind::kManifest) return {};
  RUNNEL_DO(forget_if_absent(metadata, repository, route.target));
  for (const auto tag : tags) RUNNEL_DO(forget_if_absent(metadata, repository, tag));
  return {};
}

std::expected<void, Refusal> check_attributes(meta::MetadataStore& metadata, Attribute attribute,
                                              const Route& route,
                                              const std::vector<std::string_view>& tags) {
  if (route.hidden) return {};
  RUNNEL_TRY(const auto lookup, Lookup::begin(metadata, route.repository));
  std::vector<std::string> references;
  if (lookup.has_others() && route.kind == Route::Kind::kManifest) {
    references.push_back(route.target);
    references.insert(references.end(), tags.begin(), tags.end());
    RUNNEL_TRY(auto touched, touched_with(metadata, attribute, route));
    references.insert(references.end(), touched.begin(), touched.end());
  }
  return lookup.require(attribute, references);
}

std::expected<void, Refusal> check_repository_attributes(meta::MetadataStore& metadata,
                                                         Attribute attribute,
                                                         std::string_view repository) {
  RUNNEL_TRY(const auto attributes, RepositoryAttributes::load(metadata, repository));
  for (const auto& [reference, each] : attributes.all())
    if (!each.has(attribute) && (attribute == Attribute::kDelete || reference == "*"))
      return std::unexpected(switched_off(repository, reference, attribute));
  return {};
}

std::expected<void, Refusal> check_restore(meta::MetadataStore& metadata,
                                           const meta::Deletion& deletion) {
  RUNNEL_TRY(const auto lookup, Lookup::begin(metadata, deletion.repository));
  RUNNEL_DO(lookup.require(Attribute::kWrite, std::vector<std::string>()));
  const bool of_tag = deletion.kind == meta::Deletion::Kind::kTag ||
                      deletion.kind == meta::Deletion::Kind::kOverwrite;
  if (!of_tag || !lookup.has_others()) return {};
  // The other kinds leave a tag alone that was pushed again.
  std::vector<std::string> moved;
  for (const auto& tag : deletion.tags) {
    RUNNEL_TRY(const auto info, metadata.manifest_info(deletion.repository, tag));
    if (info && info->digest != deletion.digest) moved.push_back(tag);
  }
  RUNNEL_DO(lookup.require(Attribute::kWrite, moved));
  for (const auto& tag : moved) {
    RUNNEL_TRY(const bool allowed, lookup.may(Attribute::kDelete, tag));
    if (!allowed)
      return std::unexpected(switched_off(deletion.repository, tag, Attribute::kDelete));
  }
  return {};
}

std::expected<void, Refusal> check_forget(meta::MetadataStore& metadata,
                                          const meta::Deletion& deletion) {
  RUNNEL_TRY(const auto lookup, Lookup::begin(metadata, deletion.repository));
  return lookup.require(Attribute::kDelete, names_of(deletion));
}

}  // namespace runnel::registry
