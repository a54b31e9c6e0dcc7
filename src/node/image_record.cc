#include "node/image_record.h"

#include <boost/json.hpp>

#include "base/json_record.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr uint32_t kVersion = 1;

Result<std::string> name_in(const json::object& object, std::string_view name) {
  RUNNEL_TRY(auto text, text_in(object, name));
  if (text.empty()) return fail(Code::kInvalid, "\"{}\" is empty", name);
  return text;
}

Result<void> read_chain_ids(const json::object& object, ImageRecord& record) {
  RUNNEL_TRY(const auto chain_ids, texts_in(object, "chain_ids"));
  for (const auto& id : chain_ids) {
    RUNNEL_TRY(auto digest, oci::Digest::parse(id));
    record.chain_ids.push_back(std::move(digest));
  }
  return {};
}

Result<void> read_layer_sizes(const json::object& object, ImageRecord& record) {
  if (!object.contains("layer_sizes")) return {};
  RUNNEL_TRY(const auto* sizes, list_in(object, "layer_sizes"));
  for (const auto& size : *sizes) {
    boost::system::error_code error;
    record.layer_sizes.push_back(size.to_number<uint64_t>(error));
    if (error) return fail(Code::kInvalid, "a layer's size is no number");
  }
  if (!sizes->empty() && sizes->size() != record.chain_ids.size())
    return fail(Code::kInvalid, "{} sizes for {} layers", sizes->size(), record.chain_ids.size());
  return {};
}

Result<ImageRecord> parse(Bytes bytes) {
  RUNNEL_TRY(const auto object, parse_json_record(bytes));
  RUNNEL_DO(check_version(object, kVersion));
  ImageRecord record;
  RUNNEL_TRY(record.host, name_in(object, "host"));
  RUNNEL_TRY(record.repository, name_in(object, "repository"));
  RUNNEL_TRY(const auto subject, text_in(object, "subject"));
  RUNNEL_TRY(record.subject, oci::Digest::parse(subject));
  RUNNEL_DO(read_chain_ids(object, record));
  RUNNEL_DO(read_layer_sizes(object, record));
  return record;
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
  auto record = parse(bytes);
  if (!record) return std::unexpected(record.error().in("image.json"));
  return record;
}

}  // namespace runnel::node
