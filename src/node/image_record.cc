#include "node/image_record.h"

#include <boost/json.hpp>

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr int kVersion = 1;

Result<const json::array*> list_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_array())
    return fail(Code::kInvalid, "image.json: \"{}\" is no list", name);
  return &value->get_array();
}

Result<std::string> text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string() || value->get_string().empty())
    return fail(Code::kInvalid, "image.json: \"{}\" is no text", name);
  return std::string(value->get_string());
}

Result<oci::Digest> digest_of(const json::value& value) {
  if (!value.is_string()) return fail(Code::kInvalid, "image.json: a digest is no text");
  auto digest = oci::Digest::parse(value.get_string());
  if (!digest) return std::unexpected(digest.error().in("image.json"));
  return digest;
}

Result<void> check_version(const json::object& object) {
  const auto* version = object.if_contains("version");
  if (version != nullptr && *version == kVersion) return {};
  return fail(Code::kUnsupported, "image.json is not of version {}; use the program that wrote it",
              kVersion);
}

Result<void> read_layer_sizes(const json::object& object, ImageRecord& record) {
  if (!object.contains("layer_sizes")) return {};
  RUNNEL_TRY(const auto* sizes, list_member(object, "layer_sizes"));
  for (const auto& size : *sizes) {
    boost::system::error_code error;
    record.layer_sizes.push_back(size.to_number<uint64_t>(error));
    if (error) return fail(Code::kInvalid, "image.json: a layer's size is no number");
  }
  if (!sizes->empty() && sizes->size() != record.chain_ids.size())
    return fail(Code::kInvalid, "image.json: {} sizes for {} layers", sizes->size(),
                record.chain_ids.size());
  return {};
}

}  // namespace

std::string to_json(const ImageRecord& record) {
  json::array chain_ids;
  for (const auto& id : record.chain_ids) chain_ids.emplace_back(id.to_string());
  json::array layer_sizes;
  for (const uint64_t size : record.layer_sizes) layer_sizes.emplace_back(size);
  return json::serialize(json::object{{"version", kVersion},
                                      {"host", record.host},
                                      {"repository", record.repository},
                                      {"subject", record.subject.to_string()},
                                      {"chain_ids", std::move(chain_ids)},
                                      {"layer_sizes", std::move(layer_sizes)}});
}

Result<ImageRecord> parse_image_record(Bytes bytes) {
  boost::system::error_code error;
  const auto parsed = json::parse(std::string(as_text(bytes)), error);
  if (error || !parsed.is_object()) return fail(Code::kInvalid, "image.json is no JSON object");
  const auto& object = parsed.get_object();
  RUNNEL_DO(check_version(object));
  ImageRecord record;
  RUNNEL_TRY(record.host, text_member(object, "host"));
  RUNNEL_TRY(record.repository, text_member(object, "repository"));
  RUNNEL_TRY(const auto subject, text_member(object, "subject"));
  RUNNEL_TRY(record.subject, digest_of(json::value(subject)));
  RUNNEL_TRY(const auto* chain_ids, list_member(object, "chain_ids"));
  for (const auto& id : *chain_ids) {
    RUNNEL_TRY(auto digest, digest_of(id));
    record.chain_ids.push_back(std::move(digest));
  }
  RUNNEL_DO(read_layer_sizes(object, record));
  return record;
}

}  // namespace runnel::node
