#include "oci/fields.h"

#include <boost/json.hpp>

#include "base/quote.h"

namespace runnel::oci {

namespace json = boost::json;

namespace {

// Deep enough for every manifest seen (the deepest is 6), shallow enough for any stack.
constexpr size_t kMaxDepth = 32;

Result<const json::object*> object_member(const json::object& object, std::string_view key,
                                          std::string_view where) {
  const auto* value = member(object, key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return fail(Code::kInvalid, "{}: \"{}\" is not an object", where, key);
  return &value->get_object();
}

Result<uint64_t> size_member(const json::object& object, std::string_view where) {
  const auto* value = member(object, "size");
  if (value == nullptr || !value->is_int64() || value->get_int64() < 0)
    return fail(Code::kInvalid, "{}: \"size\" is not a non-negative integer", where);
  return static_cast<uint64_t>(value->get_int64());
}

Result<std::optional<Platform>> platform_member(const json::object& object,
                                                std::string_view where) {
  RUNNEL_TRY(const auto* found, object_member(object, "platform", where));
  if (found == nullptr) return std::nullopt;
  Platform platform;
  RUNNEL_TRY(platform.os, text_member(*found, "os", where));
  RUNNEL_TRY(platform.architecture, text_member(*found, "architecture", where));
  RUNNEL_TRY(platform.variant, text_member(*found, "variant", where));
  RUNNEL_TRY(platform.os_version, text_member(*found, "os.version", where));
  RUNNEL_TRY(platform.os_features, texts_member(*found, "os.features", where));
  return platform;
}

json::object json_of(const Platform& platform) {
  json::object out;
  out["architecture"] = platform.architecture;
  out["os"] = platform.os;
  if (!platform.os_version.empty()) out["os.version"] = platform.os_version;
  if (!platform.os_features.empty())
    out["os.features"] = json::array(platform.os_features.begin(), platform.os_features.end());
  if (!platform.variant.empty()) out["variant"] = platform.variant;
  return out;
}

}  // namespace

Result<json::value> parse_json_object(Bytes bytes, size_t limit, std::string_view where) {
  if (bytes.size() > limit)
    return fail(Code::kExhausted, "{}: {} bytes, more than the limit of {}", where, bytes.size(),
                limit);
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::error_code error;
  const auto text = as_text(bytes);
  auto value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return fail(Code::kInvalid, "{}: not JSON: {}", where, error.message());
  if (!value.is_object()) return fail(Code::kInvalid, "{}: not a JSON object", where);
  return value;
}

const json::value* member(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains({key.data(), key.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::string> text_member(const json::object& object, std::string_view key,
                                std::string_view where) {
  const auto* value = member(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return fail(Code::kInvalid, "{}: \"{}\" is not a string", where, key);
  return std::string(value->get_string());
}

Result<std::vector<std::string>> texts_member(const json::object& object, std::string_view key,
                                              std::string_view where) {
  std::vector<std::string> texts;
  const auto* value = member(object, key);
  if (value == nullptr) return texts;
  if (!value->is_array()) return fail(Code::kInvalid, "{}: \"{}\" is not a list", where, key);
  for (const auto& each : value->get_array()) {
    if (!each.is_string())
      return fail(Code::kInvalid, "{}: \"{}\" holds something other than strings", where, key);
    texts.emplace_back(each.get_string());
  }
  return texts;
}

Result<Annotations> annotations_member(const json::object& object, std::string_view where) {
  Annotations annotations;
  RUNNEL_TRY(const auto* found, object_member(object, "annotations", where));
  if (found == nullptr) return annotations;
  for (const auto& [key, value] : *found) {
    if (!value.is_string())
      return fail(Code::kInvalid, "{}: annotation {} is not a string", where,
                  quote({key.data(), key.size()}));
    annotations.emplace(key, value.get_string());
  }
  return annotations;
}

Result<Descriptor> descriptor_of(const json::value& value, std::string_view where) {
  if (!value.is_object()) return fail(Code::kInvalid, "{}: not an object", where);
  const auto& object = value.get_object();
  Descriptor descriptor;
  RUNNEL_TRY(descriptor.media_type, text_member(object, "mediaType", where));
  if (descriptor.media_type.empty()) return fail(Code::kInvalid, "{}: no \"mediaType\"", where);
  RUNNEL_TRY(const std::string digest, text_member(object, "digest", where));
  auto parsed = Digest::parse(digest);
  if (!parsed) return std::unexpected(parsed.error().in(std::string(where)));
  descriptor.digest = *std::move(parsed);
  RUNNEL_TRY(descriptor.size, size_member(object, where));
  RUNNEL_TRY(descriptor.annotations, annotations_member(object, where));
  RUNNEL_TRY(descriptor.platform, platform_member(object, where));
  RUNNEL_TRY(descriptor.artifact_type, text_member(object, "artifactType", where));
  RUNNEL_TRY(descriptor.urls, texts_member(object, "urls", where));
  return descriptor;
}

json::object json_of(const Annotations& annotations) {
  json::object out;
  for (const auto& [key, value] : annotations) out[key] = value;
  return out;
}

json::object json_of(const Descriptor& descriptor) {
  json::object out;
  out["mediaType"] = descriptor.media_type;
  out["digest"] = descriptor.digest.to_string();
  out["size"] = descriptor.size;
  if (!descriptor.urls.empty())
    out["urls"] = json::array(descriptor.urls.begin(), descriptor.urls.end());
  if (!descriptor.annotations.empty()) out["annotations"] = json_of(descriptor.annotations);
  if (descriptor.platform) out["platform"] = json_of(*descriptor.platform);
  if (!descriptor.artifact_type.empty()) out["artifactType"] = descriptor.artifact_type;
  return out;
}

std::string to_string(const Platform& platform) {
  auto text = platform.os + "/" + platform.architecture;
  if (!platform.variant.empty()) text += "/" + platform.variant;
  return text;
}

std::string to_json(const Descriptor& descriptor) {
  return json::serialize(json_of(descriptor));
}

Result<Descriptor> parse_descriptor(Bytes bytes) {
  RUNNEL_TRY(const auto value, parse_json_object(bytes, kMaxDescriptorBytes, "descriptor"));
  return descriptor_of(value, "descriptor");
}

}  // namespace runnel::oci
