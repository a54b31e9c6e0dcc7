#include "node/status_json.h"

#include <fmt/chrono.h>

#include <boost/json.hpp>

namespace runnel::node {

namespace {

namespace json = boost::json;

const char* to_string(Images::LayerStatus::Mounted mounted) {
  switch (mounted) {
    case Images::LayerStatus::Mounted::kNo: return "no";
    case Images::LayerStatus::Mounted::kServed: return "served";
    case Images::LayerStatus::Mounted::kPlain: return "plain";
  }
  return "no";
}

// RFC 3339, whole seconds; "unknown" for a token that does not say.
std::string time_text(WallTime time) {
  if (time == WallTime::max()) return "unknown";
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     std::chrono::time_point_cast<std::chrono::seconds>(time));
}

json::object to_json(const Images::LayerStatus& layer) {
  return {{"digest", layer.digest},
          {"bytes", layer.bytes},
          {"bytes_present", layer.present},
          {"bytes_fetched", layer.fetched},
          {"bytes_borrowed", layer.borrowed},
          {"page_cache_bytes", layer.page_cache},
          {"complete", layer.complete},
          {"mounted", to_string(layer.mounted)},
          {"failed_reads", layer.failed_reads},
          {"corrupt_chunks", layer.corrupt_chunks},
          {"last_error", layer.last_error}};
}

json::object to_json(const Images::ImageStatus& image) {
  json::array layers;
  uint64_t bytes = 0;
  uint64_t present = 0;
  uint64_t fetched = image.boot_bytes;
  uint64_t page_cache = 0;
  for (const auto& layer : image.layers) {
    bytes += layer.bytes;
    present += layer.present;
    fetched += layer.fetched;
    page_cache += layer.page_cache;
    layers.push_back(to_json(layer));
  }
  json::object out{{"image", image.name},
                   {"reason", image.preparing ? "Preparing" : to_string(image.verdict.reason)},
                   {"detail", image.verdict.detail},
                   {"boot_bytes", image.boot_bytes},
                   {"bytes", bytes},
                   {"bytes_present", present},
                   {"bytes_fetched", fetched},
                   {"page_cache_bytes", page_cache},
                   {"layers", std::move(layers)}};
  if (image.readable_until) out["readable_until"] = time_text(*image.readable_until);
  return out;
}

json::object to_json(const cache::Budget::Status& cache, const cache::Cache::ScrubStatus& scrub) {
  return {{"state", to_string(cache.state)},  {"bytes", cache.used},
          {"max_bytes", cache.max_bytes},     {"free_bytes", cache.free},
          {"min_free_bytes", cache.min_free}, {"reserve_bytes", cache.reserve},
          {"refused_chunks", cache.refused},  {"scrubbed_bytes", scrub.bytes},
          {"damaged_chunks", scrub.damaged},  {"repaired_chunks", scrub.repaired}};
}

const char* reason_of_choice(const engine::Engine::Status& status) {
  return status.wanted == engine::Way::kAuto ? "the first way that passed its trial"
                                             : "asked for, and passed its trial";
}

}  // namespace

std::string status_json(Images& images, const engine::Engine& engine, const WorkerInfo& worker) {
  json::array list;
  auto known = images.status();
  images.add_page_cache(known);
  for (const auto& image : known) list.push_back(to_json(image));
  json::array ways;
  const auto status = engine.status();
  for (const auto& probe : status.probes) {
    ways.push_back(
        {{"way", engine::to_string(probe.way)}, {"works", probe.ok}, {"reason", probe.reason}});
  }
  return json::serialize(
      json::object{{"version", RUNNEL_VERSION},
                   {"engine", engine::to_string(status.way)},
                   {"engine_reason", reason_of_choice(status)},
                   {"engine_trial", std::move(ways)},
                   {"recovery", engine::to_string(status.recovery)},
                   {"recovery_reason", status.recovery_reason},
                   {"direct_io", status.direct_io},
                   {"direct_io_reason", status.direct_io_reason},
                   {"parallel_loops", status.parallel_loops},
                   {"parallel_loops_reason", status.parallel_loops_reason},
                   {"direct_devices", status.direct_devices},
                   {"direct_devices_reason", status.direct_devices_reason},
                   {"worker_restarts", worker.restarts},
                   {"metrics", worker.metrics},
                   {"mirror", worker.mirror.text()},
                   {"cache", to_json(engine.cache_status(), engine.scrub_status())},
                   {"images", std::move(list)}});
}

std::string containers_json(const std::vector<ContainerStatus>& containers) {
  json::array list;
  for (const auto& each : containers) {
    list.push_back({{"id", each.id},
                    {"namespace", each.name_space},
                    {"image", each.image},
                    {"reference", each.reference},
                    {"reason", to_string(each.verdict.reason)},
                    {"detail", each.verdict.detail},
                    {"engine", each.engine},
                    {"layers", each.layers},
                    {"streamed_layers", each.streamed_layers},
                    {"bytes", each.bytes},
                    {"bytes_present", each.present},
                    {"bytes_fetched", each.fetched}});
  }
  return json::serialize(json::object{{"containers", std::move(list)}});
}

}  // namespace runnel::node
