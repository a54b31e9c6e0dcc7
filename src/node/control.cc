#include "node/control.h"

#include <boost/json.hpp>

#include "net/async.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

json::object to_json(const Images::LayerStatus& layer) {
  return {{"digest", layer.digest},
          {"bytes", layer.bytes},
          {"bytes_present", layer.present},
          {"bytes_fetched", layer.fetched},
          {"complete", layer.complete}};
}

json::object to_json(const Images::ImageStatus& image) {
  json::array layers;
  uint64_t fetched = image.boot_bytes;
  for (const auto& layer : image.layers) {
    fetched += layer.fetched;
    layers.push_back(to_json(layer));
  }
  return {{"image", image.name},
          {"reason", image.preparing ? "Preparing" : to_string(image.verdict.reason)},
          {"detail", image.verdict.detail},
          {"boot_bytes", image.boot_bytes},
          {"bytes_fetched", fetched},
          {"layers", std::move(layers)}};
}

json::object to_json(const cache::Budget::Status& cache) {
  return {{"state", to_string(cache.state)},  {"bytes", cache.used},
          {"max_bytes", cache.max_bytes},     {"free_bytes", cache.free},
          {"min_free_bytes", cache.min_free}, {"reserve_bytes", cache.reserve},
          {"refused_chunks", cache.refused}};
}

net::Response json_response(int status, const json::object& body) {
  return net::Response(status, net::Headers{{"Content-Type", "application/json"}},
                       json::serialize(body));
}

json::object to_json(const Completion::Status& status) {
  return {{"running", status.running},
          {"complete", status.complete},
          {"bytes_missing", status.bytes_missing},
          {"error", status.error}};
}

}  // namespace

std::string status_json(const Images& images, const engine::Engine& engine) {
  json::array list;
  for (const auto& image : images.status()) list.push_back(to_json(image));
  json::array ways;
  const auto engine_status = engine.status();
  for (const auto& probe : engine_status.probes) {
    ways.push_back({{"way", to_string(probe.way)}, {"works", probe.ok}, {"reason", probe.reason}});
  }
  return json::serialize(json::object{{"version", RUNNEL_VERSION},
                                      {"engine", to_string(engine_status.way)},
                                      {"engine_trial", std::move(ways)},
                                      {"cache", to_json(engine.cache_status())},
                                      {"images", std::move(list)}});
}

net::awaitable<net::Response> Control::handle(net::Request& request, net::RequestBody&) {
  if (request.method == "GET" && request.path == "/status") {
    co_return net::Response(200, net::Headers{{"Content-Type", "application/json"}},
                            status_json(images_, engine_));
  }
  if (request.method == "POST" && request.path == "/clear") {
    auto work = [this] { return engine_.clear(); };
    const auto freed = co_await net::on_pool(pool_, std::move(work));
    if (!freed) co_return json_response(500, {{"error", freed.error().message}});
    co_return json_response(200, {{"freed_bytes", *freed}});
  }
  if (request.path == "/complete" && (request.method == "POST" || request.method == "GET")) {
    if (request.method == "POST") completion_.start();
    co_return json_response(200, to_json(completion_.status()));
  }
  co_return json_response(
      404, {{"error", "the control socket has GET /status, POST /clear and /complete"}});
}

}  // namespace runnel::node
