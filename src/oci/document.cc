#include "oci/document.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "oci/fields.h"
#include "oci/media_types.h"

namespace runnel::oci {

namespace json = boost::json;

namespace {

// "application/json; charset=utf-8" is "application/json".
std::string_view without_parameters(std::string_view content_type) {
  auto type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

bool says_nothing(std::string_view type) {
  return type.empty() || type == "application/json" || type == "application/octet-stream";
}

Result<std::string> resolve_media_type(const json::object& object, std::string_view content_type) {
  RUNNEL_TRY(std::string own, text_member(object, "mediaType", "manifest"));
  const auto sent = without_parameters(content_type);
  if (says_nothing(sent)) {
    if (!own.empty()) return own;
    return std::string(member(object, "manifests") != nullptr ? kOciIndex : kOciManifest);
  }
  if (!own.empty() && own != sent)
    return fail(Code::kInvalid, "manifest: its mediaType is {} but it was sent as {}", quote(own),
                quote(sent));
  return std::string(sent);
}

Result<void> check_schema_version(const json::object& object) {
  const auto* version = member(object, "schemaVersion");
  if (version != nullptr && version->is_int64() && version->get_int64() == 2) return {};
  if (version != nullptr && version->is_int64() && version->get_int64() == 1)
    return fail(Code::kUnsupported,
                "manifest: schema version 1 is not supported; push with a current client");
  return fail(Code::kInvalid, "manifest: \"schemaVersion\" is not 2");
}

Result<void> refuse_members(const json::object& object, std::string_view kind,
                            std::initializer_list<std::string_view> keys) {
  for (const auto key : keys)
    if (member(object, key) != nullptr)
      return fail(Code::kInvalid, "manifest: an {} has no \"{}\"", kind, key);
  return {};
}

Result<std::vector<Descriptor>> descriptors_member(const json::object& object,
                                                   std::string_view key) {
  std::vector<Descriptor> descriptors;
  const auto* value = member(object, key);
  if (value == nullptr) return descriptors;
  if (!value->is_array()) return fail(Code::kInvalid, "manifest: \"{}\" is not a list", key);
  const auto& list = value->get_array();
  if (list.size() > kMaxDescriptors)
    return fail(Code::kExhausted, "manifest: {} \"{}\", more than the limit of {}", list.size(),
                key, kMaxDescriptors);
  descriptors.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    RUNNEL_TRY(auto descriptor, descriptor_of(list[i], fmt::format("{}[{}]", key, i)));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

// What manifests and indexes have in common.
template <class T>
Result<void> read_common(const json::object& object, T& into) {
  if (const auto* subject = member(object, "subject")) {
    RUNNEL_TRY(into.subject, descriptor_of(*subject, "subject"));
  }
  RUNNEL_TRY(into.artifact_type, text_member(object, "artifactType", "manifest"));
  RUNNEL_TRY(into.annotations, annotations_member(object, "manifest"));
  return {};
}

Result<Document> read_manifest(const json::object& object, std::string media_type) {
  RUNNEL_DO(refuse_members(object, "image manifest", {"manifests", "fsLayers"}));
  Manifest manifest;
  manifest.media_type = std::move(media_type);
  const auto* config = member(object, "config");
  if (config == nullptr) return fail(Code::kInvalid, "manifest: no \"config\"");
  RUNNEL_TRY(manifest.config, descriptor_of(*config, "config"));
  RUNNEL_TRY(manifest.layers, descriptors_member(object, "layers"));
  RUNNEL_DO(read_common(object, manifest));
  return manifest;
}

Result<Document> read_index(const json::object& object, std::string media_type) {
  RUNNEL_DO(refuse_members(object, "image index", {"config", "layers", "fsLayers"}));
  Index index;
  index.media_type = std::move(media_type);
  RUNNEL_TRY(index.manifests, descriptors_member(object, "manifests"));
  RUNNEL_DO(read_common(object, index));
  return index;
}

template <class T>
void write_common(json::object& out, const T& from) {
  if (from.subject) out["subject"] = json_of(*from.subject);
  if (!from.annotations.empty()) out["annotations"] = json_of(from.annotations);
}

json::array json_of(const std::vector<Descriptor>& descriptors) {
  json::array list;
  for (const auto& each : descriptors) list.push_back(oci::json_of(each));
  return list;
}

// The members that every document begins with.
json::object begin(const std::string& media_type, const std::string& artifact_type) {
  json::object out;
  out["schemaVersion"] = 2;
  out["mediaType"] = media_type;
  if (!artifact_type.empty()) out["artifactType"] = artifact_type;
  return out;
}

}  // namespace

Result<Document> parse_document(Bytes bytes, std::string_view content_type) {
  RUNNEL_TRY(const auto value, parse_json_object(bytes, kMaxDocumentBytes, "manifest"));
  const auto& object = value.get_object();
  RUNNEL_TRY(auto type, resolve_media_type(object, content_type));
  if (!is_manifest_type(type) && !is_index_type(type))
    return fail(Code::kUnsupported, "manifest: media type {} is no image manifest or index",
                quote(type));
  RUNNEL_DO(check_schema_version(object));
  if (is_index_type(type)) return read_index(object, std::move(type));
  return read_manifest(object, std::move(type));
}

Result<Manifest> parse_manifest(Bytes bytes, std::string_view content_type) {
  RUNNEL_TRY(auto document, parse_document(bytes, content_type));
  if (auto* manifest = std::get_if<Manifest>(&document)) return std::move(*manifest);
  return fail(Code::kInvalid, "manifest: an image index where an image manifest is needed");
}

Result<Index> parse_index(Bytes bytes, std::string_view content_type) {
  RUNNEL_TRY(auto document, parse_document(bytes, content_type));
  if (auto* index = std::get_if<Index>(&document)) return std::move(*index);
  return fail(Code::kInvalid, "manifest: an image manifest where an image index is needed");
}

const std::string& media_type(const Document& document) {
  return std::visit([](const auto& each) -> const std::string& { return each.media_type; },
                    document);
}

const std::optional<Descriptor>& subject(const Document& document) {
  return std::visit(
      [](const auto& each) -> const std::optional<Descriptor>& { return each.subject; }, document);
}

std::string to_json(const Manifest& manifest) {
  auto out = begin(manifest.media_type, manifest.artifact_type);
  out["config"] = json_of(manifest.config);
  out["layers"] = json_of(manifest.layers);
  write_common(out, manifest);
  return json::serialize(out);
}

std::string to_json(const Index& index) {
  auto out = begin(index.media_type, index.artifact_type);
  out["manifests"] = json_of(index.manifests);
  write_common(out, index);
  return json::serialize(out);
}

}  // namespace runnel::oci
