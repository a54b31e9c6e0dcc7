#include "oci/image_config.h"

#include <boost/json.hpp>

#include "oci/fields.h"

namespace runnel::oci {

namespace {

// overlayfs and every builder stop far below; this bounds what a hostile configuration can ask.
constexpr size_t kMaxLayers = 10'000;

Result<std::vector<Digest>> read_diff_ids(const boost::json::object& config) {
  std::vector<Digest> diff_ids;
  const auto* rootfs = member(config, "rootfs");
  if (rootfs == nullptr) return diff_ids;
  if (!rootfs->is_object())
    return fail(Code::kInvalid, "image configuration: \"rootfs\" is not an object");
  RUNNEL_TRY(const auto texts,
             texts_member(rootfs->get_object(), "diff_ids", "image configuration"));
  if (texts.size() > kMaxLayers)
    return fail(Code::kExhausted, "image configuration: {} layers, more than the limit of {}",
                texts.size(), kMaxLayers);
  for (const auto& text : texts) {
    auto digest = Digest::parse(text);
    if (!digest) return std::unexpected(digest.error().in("image configuration: diff_ids"));
    diff_ids.push_back(*std::move(digest));
  }
  return diff_ids;
}

constexpr size_t kMaxProcessBytes = 64 << 10;

// Only a guess is made of it (startup/), so what is odd is left out, and the image is fine.
Process read_process(const boost::json::object& config) {
  Process process;
  const auto* value = member(config, "config");
  if (value == nullptr || !value->is_object()) return process;
  const auto& object = value->get_object();
  constexpr auto kWhere = "image configuration";
  const auto entrypoint = texts_member(object, "Entrypoint", kWhere);
  const auto command = texts_member(object, "Cmd", kWhere);
  auto environment = texts_member(object, "Env", kWhere);
  auto directory = text_member(object, "WorkingDir", kWhere);
  if (!entrypoint || !command || !environment || !directory) return {};
  process.arguments = *entrypoint;
  process.arguments.insert(process.arguments.end(), command->begin(), command->end());
  process.environment = *std::move(environment);
  process.working_directory = *std::move(directory);
  size_t bytes = process.working_directory.size();
  for (const auto& each : process.arguments) bytes += each.size() + 1;
  for (const auto& each : process.environment) bytes += each.size() + 1;
  return bytes <= kMaxProcessBytes ? process : Process();
}

}  // namespace

Result<ImageConfig> parse_image_config(Bytes bytes) {
  constexpr auto kWhere = "image configuration";
  RUNNEL_TRY(const auto value, parse_json_object(bytes, kMaxConfigBytes, kWhere));
  const auto& object = value.get_object();
  ImageConfig config;
  RUNNEL_TRY(config.os, text_member(object, "os", kWhere));
  RUNNEL_TRY(config.architecture, text_member(object, "architecture", kWhere));
  RUNNEL_TRY(config.variant, text_member(object, "variant", kWhere));
  RUNNEL_TRY(config.diff_ids, read_diff_ids(object));
  config.process = read_process(object);
  return config;
}

std::vector<Digest> chain_ids(std::span<const Digest> diff_ids) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (const auto& diff_id : diff_ids) {
    if (chain.empty()) {
      chain.push_back(diff_id);
    } else {
      const auto text = chain.back().to_string() + " " + diff_id.to_string();
      chain.push_back(Digest::of(as_bytes(text)));
    }
  }
  return chain;
}

}  // namespace runnel::oci
