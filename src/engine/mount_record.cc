#include "engine/mount_record.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/json_record.h"
#include "engine/node_table.h"

namespace runnel::engine {

namespace {

namespace json = boost::json;

json::array to_list(const std::vector<oci::Digest>& digests) {
  json::array list;
  for (const auto& digest : digests) list.emplace_back(digest.to_string());
  return list;
}

Result<std::vector<oci::Digest>> digests_in(const json::object& object, std::string_view name) {
  RUNNEL_TRY(const auto texts, texts_in(object, name));
  std::vector<oci::Digest> digests;
  for (const auto& text : texts) {
    RUNNEL_TRY(auto digest, oci::Digest::parse(text));
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
  RUNNEL_TRY(record.served, digests_in(object, "served"));
  for (const auto& digest : record.served) {
    if (std::ranges::find(record.layers, digest) == record.layers.end())
      return fail(Code::kInvalid, "{} is served and no layer of it", digest);
  }
  return {};
}

bool is_loop(std::string_view name) {
  constexpr std::string_view kPrefix = "loop";
  constexpr size_t kMostDigits = 10;
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  return !name.empty() && name.size() <= kMostDigits &&
         name.find_first_not_of("0123456789") == name.npos;
}

// They become part of paths.
Result<void> read_loops(const json::object& object, MountRecord& record) {
  if (!object.contains("loops")) return {};
  RUNNEL_TRY(record.loops, texts_in(object, "loops"));
  if (!std::ranges::all_of(record.loops, is_loop))
    return fail(Code::kInvalid, "\"loops\" holds what is no loop device");
  if (record.loops.size() == record.layers.size()) return {};
  return fail(Code::kInvalid, "{} loop devices, {} layers", record.loops.size(),
              record.layers.size());
}

Result<void> read_tree(const json::object& object, MountRecord& record) {
  if (!object.contains("tree")) return {};
  RUNNEL_TRY(record.tree, number_in(object, "tree"));
  if (record.tree == 0 || record.tree >= kMaxTreeNumber)
    return fail(Code::kInvalid, "\"tree\" is no tree's number");
  RUNNEL_TRY(record.metadata, text_in(object, "metadata"));
  return {};
}

}  // namespace

std::string to_json(const MountRecord& record) {
  json::object object{{"fuse_device", record.fuse_device},
                      {"layers", to_list(record.layers)},
                      {"served", to_list(record.served)}};
  if (record.parallel_loops) object["parallel_loops"] = true;
  if (!record.loops.empty())
    object["loops"] = json::array(record.loops.begin(), record.loops.end());
  if (record.tree != 0) {
    object["tree"] = record.tree;
    object["metadata"] = record.metadata;
  }
  return json::serialize(object);
}

Result<MountRecord> parse_mount_record(Bytes bytes) {
  RUNNEL_TRY(const auto object, parse_json_record(bytes));
  MountRecord record;
  RUNNEL_TRY(record.fuse_device, text_in(object, "fuse_device"));
  RUNNEL_TRY(record.layers, digests_in(object, "layers"));
  RUNNEL_DO(read_served(object, record));
  if (object.contains("parallel_loops")) {
    RUNNEL_TRY(record.parallel_loops, bool_in(object, "parallel_loops"));
  }
  RUNNEL_DO(read_loops(object, record));
  RUNNEL_DO(read_tree(object, record));
  return record;
}

}  // namespace runnel::engine
