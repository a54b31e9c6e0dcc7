#include "engine/mount_record.h"

#include <algorithm>
#include <boost/json.hpp>

#include "engine/node_table.h"

namespace runnel::engine {

namespace {

namespace json = boost::json;

json::array to_list(const std::vector<oci::Digest>& digests) {
  json::array list;
  for (const auto& digest : digests) list.emplace_back(digest.to_string());
  return list;
}

Result<std::string> text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string())
    return fail(Code::kInvalid, "\"{}\" is no text", name);
  return std::string(value->get_string());
}

Result<std::vector<oci::Digest>> digests_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_array())
    return fail(Code::kInvalid, "\"{}\" is no list", name);
  std::vector<oci::Digest> digests;
  for (const auto& each : value->get_array()) {
    if (!each.is_string()) return fail(Code::kInvalid, "\"{}\" holds more than texts", name);
    RUNNEL_TRY(auto digest, oci::Digest::parse(each.get_string()));
    digests.push_back(std::move(digest));
  }
  return digests;
}

// Records of earlier versions do not say.
Result<void> read_served(const json::object& object, MountRecord& record) {
  if (!object.contains("served")) {
    if (!record.fuse_device.empty()) record.served = record.layers;
    return {};
  }
  RUNNEL_TRY(record.served, digests_member(object, "served"));
  for (const auto& digest : record.served) {
    if (std::ranges::find(record.layers, digest) == record.layers.end())
      return fail(Code::kInvalid, "{} is served and no layer of it", digest);
  }
  return {};
}

Result<void> read_tree(const json::object& object, MountRecord& record) {
  const auto* number = object.if_contains("tree");
  if (number == nullptr) return {};
  boost::system::error_code error;
  record.tree = number->to_number<uint32_t>(error);
  if (error || record.tree == 0 || record.tree >= kMaxTreeNumber)
    return fail(Code::kInvalid, "\"tree\" is no tree's number");
  RUNNEL_TRY(record.metadata, text_member(object, "metadata"));
  return {};
}

}  // namespace

std::string to_json(const MountRecord& record) {
  json::object object{{"fuse_device", record.fuse_device},
                      {"layers", to_list(record.layers)},
                      {"served", to_list(record.served)}};
  if (record.parallel_loops) object["parallel_loops"] = true;
  if (record.tree != 0) {
    object["tree"] = record.tree;
    object["metadata"] = record.metadata;
  }
  return json::serialize(object);
}

Result<MountRecord> parse_mount_record(Bytes bytes) {
  boost::system::error_code error;
  const auto parsed = json::parse(std::string(as_text(bytes)), error);
  if (error || !parsed.is_object()) return fail(Code::kInvalid, "no JSON object");
  const auto& object = parsed.get_object();
  MountRecord record;
  RUNNEL_TRY(record.fuse_device, text_member(object, "fuse_device"));
  RUNNEL_TRY(record.layers, digests_member(object, "layers"));
  RUNNEL_DO(read_served(object, record));
  if (const auto* parallel = object.if_contains("parallel_loops")) {
    if (!parallel->is_bool()) return fail(Code::kInvalid, "\"parallel_loops\" is no yes or no");
    record.parallel_loops = parallel->get_bool();
  }
  RUNNEL_DO(read_tree(object, record));
  return record;
}

}  // namespace runnel::engine
