#include "registry/attributes.h"

#include <algorithm>
#include <boost/json.hpp>

#include "oci/digest.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "attributes";
// Documents of a repository stand together and are few: one small page nearly always.
constexpr size_t kPage = 16;
constexpr int kAttempts = 10;  // to change a document that others change too
constexpr std::array<Attribute, kAttributes> kAll = {Attribute::kRead, Attribute::kWrite,
                                                     Attribute::kDelete, Attribute::kList};

// "team/app *", "team/app v1": a space is in no name, and sorts before all that may be.
std::string document_name(std::string_view repository, std::string_view reference) {
  return fmt::format("{} {}", repository, reference);
}

Result<Attributes> attributes_of(const meta::Document& document) {
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

// Empty when it may be done.
using Blocked = std::expected<std::string, Refusal>;

// Deleting a manifest takes its tags along; reading by tag reads a manifest.
Blocked blocked_elsewhere(meta::MetadataStore& metadata, Attribute attribute, const Route& route,
                          const RepositoryAttributes& attributes) {
  if (attribute == Attribute::kRead && !is_digest(route.target) && attributes.names_digests()) {
    RUNNEL_TRY(const auto info, metadata.manifest_info(route.repository, route.target));
    if (info && !attributes.of(info->digest.to_string()).has(attribute))
      return info->digest.to_string();
  }
  if (attribute != Attribute::kDelete || !is_digest(route.target)) return std::string();
  for (const auto& [reference, each] : attributes.all()) {
    if (each.has(attribute) || reference == "*" || is_digest(reference)) continue;
    RUNNEL_TRY(const auto info, metadata.manifest_info(route.repository, reference));
    if (info && info->digest.to_string() == route.target) return reference;
  }
  return std::string();
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
  const auto prefix = document_name(repository, "");
  auto after = prefix;
  while (true) {
    RUNNEL_TRY(const auto page, metadata.documents(kKind, after, kPage));
    for (const auto& document : page) {
      if (!document.name.starts_with(prefix)) return made;
      RUNNEL_TRY(made.all_[document.name.substr(prefix.size())], attributes_of(document));
      after = document.name;
    }
    if (page.size() < kPage) return made;
  }
}

Attributes RepositoryAttributes::of(std::string_view reference) const {
  const auto found = all_.find(reference);
  return found == all_.end() ? Attributes() : found->second;
}

std::string RepositoryAttributes::first_without(Attribute attribute) const {
  const auto found = std::ranges::find_if(
      all_, [attribute](const auto& entry) { return !entry.second.has(attribute); });
  return found == all_.end() ? std::string() : found->first;
}

bool RepositoryAttributes::names_digests() const {
  return std::ranges::any_of(all_, [](const auto& entry) { return is_digest(entry.first); });
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
      RUNNEL_TRY(attributes, attributes_of(*before));
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

std::expected<void, Refusal> check_attributes(meta::MetadataStore& metadata, Attribute attribute,
                                              const Route& route,
                                              const std::vector<std::string_view>& tags) {
  if (route.hidden) return {};
  const auto& repository = route.repository;
  RUNNEL_TRY(const auto attributes, RepositoryAttributes::load(metadata, repository));
  if (attributes.all().empty()) return {};
  if (!attributes.own().has(attribute))
    return std::unexpected(switched_off(repository, "*", attribute));
  if (route.kind != Route::Kind::kManifest) return {};
  if (!attributes.of(route.target).has(attribute))
    return std::unexpected(switched_off(repository, route.target, attribute));
  for (const auto tag : tags)
    if (!attributes.of(tag).has(attribute))
      return std::unexpected(switched_off(repository, tag, attribute));
  RUNNEL_TRY(const auto other, blocked_elsewhere(metadata, attribute, route, attributes));
  if (!other.empty()) return std::unexpected(switched_off(repository, other, attribute));
  return {};
}

std::expected<void, Refusal> check_repository_attributes(meta::MetadataStore& metadata,
                                                         Attribute attribute,
                                                         std::string_view repository) {
  RUNNEL_TRY(const auto attributes, RepositoryAttributes::load(metadata, repository));
  const bool whole = attribute == Attribute::kDelete;
  const auto blocked = whole                              ? attributes.first_without(attribute)
                       : !attributes.own().has(attribute) ? std::string("*")
                                                          : std::string();
  if (!blocked.empty()) return std::unexpected(switched_off(repository, blocked, attribute));
  return {};
}

}  // namespace runnel::registry
