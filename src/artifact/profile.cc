#include "artifact/profile.h"

#include <boost/json.hpp>

#include "artifact/boot_blob.h"
#include "base/quote.h"

namespace runnel::artifact {

namespace {

namespace json = boost::json;

constexpr int kVersion = 1;

Result<uint64_t> number(const json::value& value, uint64_t limit, std::string_view what) {
  boost::system::error_code error;
  const auto found = value.is_number() ? value.to_number<uint64_t>(error) : limit;
  if (error || found >= limit)
    return fail(Code::kInvalid, "profile: {} is no {}", quote(json::serialize(value)), what);
  return found;
}

Result<std::vector<oci::Digest>> parse_layers(const json::array& list) {
  if (list.size() > kMaxLayers) return fail(Code::kInvalid, "profile: {} layers", list.size());
  std::vector<oci::Digest> layers;
  for (const auto& each : list) {
    if (!each.is_string()) return fail(Code::kInvalid, "profile: a layer that is no string");
    RUNNEL_TRY(layers.emplace_back(), oci::Digest::parse(std::string_view(each.get_string())));
  }
  return layers;
}

Result<std::vector<Profile::Chunk>> parse_chunks(const json::array& list, size_t layers) {
  if (list.size() > kMaxProfileChunks) {
    return fail(Code::kExhausted, "profile: {} chunks, at most {}", list.size(), kMaxProfileChunks);
  }
  std::vector<Profile::Chunk> chunks;
  for (const auto& each : list) {
    const auto* pair = each.if_array();
    if (pair == nullptr || pair->size() != 2) {
      return fail(Code::kInvalid, "profile: {} is not [layer, chunk]",
                  quote(json::serialize(each)));
    }
    RUNNEL_TRY(const uint64_t layer, number((*pair)[0], layers, "layer"));
    RUNNEL_TRY(const uint64_t chunk, number((*pair)[1], uint64_t{1} << 24, "chunk"));
    chunks.push_back(
        {.layer = static_cast<uint16_t>(layer), .chunk = static_cast<uint32_t>(chunk)});
  }
  return chunks;
}

const json::array* array_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}

}  // namespace

std::string to_json(const Profile& profile) {
  json::array layers;
  for (const auto& layer : profile.layers) layers.emplace_back(layer.to_string());
  json::array chunks;
  for (const auto& each : profile.chunks) chunks.push_back(json::array{each.layer, each.chunk});
  return json::serialize(json::object{{"version", kVersion},
                                      {"image", profile.image},
                                      {"layers", std::move(layers)},
                                      {"chunks", std::move(chunks)}});
}

Result<Profile> parse_profile(Bytes bytes) {
  if (bytes.size() > kMaxProfileBytes) {
    return fail(Code::kExhausted, "profile: {} bytes, at most {}", bytes.size(), kMaxProfileBytes);
  }
  boost::system::error_code error;
  const auto document = json::parse(as_text(bytes), error);
  if (error || !document.is_object()) return fail(Code::kInvalid, "profile: no JSON object");
  const auto& object = document.get_object();
  const auto* version = object.if_contains("version");
  if (version == nullptr) return fail(Code::kInvalid, "profile: it has no version");
  if (*version != kVersion) {
    return fail(Code::kUnsupported, "profile: version {}; this program reads {}",
                quote(json::serialize(*version)), kVersion);
  }
  const auto* layers = array_of(object, "layers");
  const auto* chunks = array_of(object, "chunks");
  if (layers == nullptr || chunks == nullptr) {
    return fail(Code::kInvalid, "profile: it needs the lists \"layers\" and \"chunks\"");
  }
  Profile profile;
  const auto* image = object.if_contains("image");
  if (image != nullptr && image->is_string()) profile.image = image->get_string();
  RUNNEL_TRY(profile.layers, parse_layers(*layers));
  RUNNEL_TRY(profile.chunks, parse_chunks(*chunks, profile.layers.size()));
  return profile;
}

}  // namespace runnel::artifact
