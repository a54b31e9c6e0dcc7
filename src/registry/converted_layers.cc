#include "registry/converted_layers.h"

#include <boost/json.hpp>

#include "artifact/artifact.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "converted-layer";
constexpr size_t kSweep = 100;

std::string name_of(const oci::Digest& source) {
  return fmt::format("{} {} {}", artifact::kFormatVersion, artifact::producer(), source);
}

std::string body_of(const oci::Digest& diff_id, const ConvertedLayer& layer) {
  json::object body;
  body["diffId"] = diff_id.to_string();
  body["blob"] = layer.blob.to_string();
  body["size"] = layer.size;
  return json::serialize(body);
}

std::optional<ConvertedLayer> layer_of(const std::string& body, const oci::Digest& diff_id) {
  json::error_code failed;
  const auto value = json::parse(body, failed);
  if (failed || !value.is_object()) return std::nullopt;
  const auto& object = value.get_object();
  const auto* made_for = object.if_contains("diffId");
  const auto* blob = object.if_contains("blob");
  const auto* size = object.if_contains("size");
  if (made_for == nullptr || blob == nullptr || size == nullptr || !made_for->is_string() ||
      !blob->is_string() || !size->is_number())
    return std::nullopt;
  if (std::string_view(made_for->get_string()) != diff_id.to_string()) return std::nullopt;
  auto digest = oci::Digest::parse(blob->get_string());
  if (!digest) return std::nullopt;
  return ConvertedLayer{.blob = *std::move(digest), .size = size->to_number<uint64_t>()};
}

std::optional<oci::Digest> blob_of(const std::string& body) {
  json::error_code failed;
  const auto value = json::parse(body, failed);
  const auto* object = failed ? nullptr : value.if_object();
  const auto* blob = object != nullptr ? object->if_contains("blob") : nullptr;
  if (blob == nullptr || !blob->is_string()) return std::nullopt;
  auto digest = oci::Digest::parse(blob->get_string());
  return digest ? std::optional(*std::move(digest)) : std::nullopt;
}

}  // namespace

Result<std::optional<ConvertedLayer>> ConvertedLayers::find(const oci::Digest& source,
                                                            const oci::Digest& diff_id) const {
  RUNNEL_TRY(const auto document, metadata_.document(kKind, name_of(source)));
  if (!document) return std::nullopt;
  const auto layer = layer_of(document->body, diff_id);
  if (!layer) return std::nullopt;
  RUNNEL_TRY(const auto size, blobs_.size(layer->blob));
  // Bytes without a link are on their way out.
  RUNNEL_TRY(const bool linked, metadata_.is_linked(layer->blob));
  if (size != layer->size || !linked) return std::nullopt;
  return layer;
}

Result<void> ConvertedLayers::remember(const oci::Digest& source, const oci::Digest& diff_id,
                                       const ConvertedLayer& layer) const {
  const auto name = name_of(source);
  const auto body = body_of(diff_id, layer);
  RUNNEL_TRY(const auto before, metadata_.document(kKind, name));
  if (before && before->body == body) return {};
  const auto put = metadata_.put_document(kKind, name, body, before ? before->version : 0);
  // Whoever was faster made the same.
  if (!put && put.error().code != Code::kConflict) return std::unexpected(put.error());
  return {};
}

Result<std::string> ConvertedLayers::forget_absent(const std::string& after) const {
  RUNNEL_TRY(const auto some, metadata_.documents(kKind, after, kSweep));
  for (const auto& each : some) {
    const auto blob = blob_of(each.body);
    if (blob) {
      RUNNEL_TRY(const bool linked, metadata_.is_linked(*blob));
      if (linked) continue;
    }
    RUNNEL_TRY([[maybe_unused]] const bool existed, metadata_.delete_document(kKind, each.name));
  }
  return some.size() < kSweep ? std::string() : some.back().name;
}

}  // namespace runnel::registry
