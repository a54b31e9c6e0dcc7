// `runnel node status`: what the node says of itself, for people. With --json its own words.
#include <boost/json.hpp>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"
#include "cli/table.h"

namespace runnel::cli {

namespace {

namespace json = boost::json;

uint64_t number(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? 0 : value->to_number<uint64_t>();
}

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr || !value->is_string() ? "" : std::string(value->get_string());
}

bool flag(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

const json::array& list(const json::object& object, std::string_view name) {
  static const json::array kNone;
  const auto* value = object.if_contains(name);
  return value == nullptr || !value->is_array() ? kNone : value->get_array();
}

// "sha256:0123456789ab": enough to tell digests apart.
std::string shortened(const std::string& name) {
  constexpr size_t kDigits = 12;
  const auto at = name.find("sha256:");
  return at == std::string::npos ? name : name.substr(0, at + 7 + kDigits);
}

std::string here(const json::object& object) {
  const auto bytes = number(object, "bytes");
  const auto present = number(object, "bytes_present");
  if (bytes == 0) return "-";
  return fmt::format("{} of {} ({} %)", amount(present), amount(bytes), 100 * present / bytes);
}

std::string mount_of(const json::object& layer) {
  const auto mounted = text(layer, "mounted");
  if (mounted == "served") return "served by the node";
  return mounted == "plain" ? "plain file" : "not mounted";
}

std::string failures_of(const json::object& layer) {
  const auto reads = number(layer, "failed_reads");
  const auto corrupt = number(layer, "corrupt_chunks");
  const auto error = text(layer, "last_error");
  if (reads == 0 && corrupt == 0 && error.empty()) return "-";
  return fmt::format("{} reads failed, {} chunks came corrupt{}{}", reads, corrupt,
                     error.empty() ? "" : "; last: ", error);
}

void print_cache(const json::object& cache) {
  fmt::print("cache    {} of {}, {} free (at least {}): {}\n", amount(number(cache, "bytes")),
             amount(number(cache, "max_bytes")), amount(number(cache, "free_bytes")),
             amount(number(cache, "min_free_bytes")), text(cache, "state"));
  if (number(cache, "damaged_chunks") > 0) {
    fmt::print("         {} damaged chunks were found on disk, {} repaired\n",
               number(cache, "damaged_chunks"), number(cache, "repaired_chunks"));
  }
}

void print_engine(const json::object& status) {
  fmt::print("engine   {}: {}\n", text(status, "engine"), text(status, "engine_reason"));
  for (const auto& trial : list(status, "engine_trial")) {
    const auto& way = trial.as_object();
    fmt::print("         {} {}\n", text(way, "way"), text(way, "reason"));
  }
  fmt::print("direct   {}: {}\n", flag(status, "direct_io") ? "on" : "off",
             text(status, "direct_io_reason"));
  if (text(status, "engine") == "erofs-file") {
    fmt::print("served   {}: {}\n",
               flag(status, "direct_devices") ? "directly" : "through the page cache",
               text(status, "direct_devices_reason"));
  }
  if (text(status, "engine") == "erofs-loop") {
    fmt::print("loops    {}: {}\n", flag(status, "parallel_loops") ? "parallel" : "one by one",
               text(status, "parallel_loops_reason"));
  }
  fmt::print("recovery {}: {}\n", text(status, "recovery"), text(status, "recovery_reason"));
  fmt::print("worker   started anew {} times since the node's start\n",
             number(status, "worker_restarts"));
  fmt::print("metrics  {}\n", text(status, "metrics"));
  if (const auto* cache = status.if_contains("cache")) print_cache(cache->as_object());
  fmt::print("\n");
}

void print_layers(const json::object& image) {
  Table table({"  LAYER", "HERE", "FETCHED", "PAGE CACHE", "MOUNTED", "FAILURES"});
  for (const auto& each : list(image, "layers")) {
    const auto& layer = each.as_object();
    table.row({"  " + shortened(text(layer, "digest")), here(layer),
               amount(number(layer, "bytes_fetched")), amount(number(layer, "page_cache_bytes")),
               mount_of(layer), failures_of(layer)});
  }
  fmt::print("{}\n", table.to_string());
}

std::vector<std::string> image_row(const json::object& image) {
  return {shortened(text(image, "image")), text(image, "reason"), here(image),
          amount(number(image, "bytes_fetched")), amount(number(image, "page_cache_bytes"))};
}

void print_images(const json::object& status, bool layers) {
  const auto& images = list(status, "images");
  if (images.empty()) {
    fmt::print("no image was pulled through this node yet\n");
    return;
  }
  Table table({"IMAGE", "REASON", "HERE", "FETCHED", "PAGE CACHE"});
  for (const auto& each : images) table.row(image_row(each.as_object()));
  if (!layers) fmt::print("{}", table.to_string());
  for (const auto& each : images) {
    const auto& image = each.as_object();
    if (layers) fmt::print("{}\n", fmt::join(image_row(image), "  "));
    if (layers && !list(image, "layers").empty()) print_layers(image);
    const auto detail = text(image, "detail");
    if (!detail.empty()) fmt::print("  {}: {}\n", shortened(text(image, "image")), detail);
    if (const auto until = text(image, "readable_until"); !until.empty()) {
      fmt::print("  {}: readable until {}: it hangs on a token that nobody can renew\n",
                 shortened(text(image, "image")), until);
    }
  }
}

void print_containers(const json::object& answer) {
  Table table({"CONTAINER", "NAMESPACE", "ENGINE", "REASON", "STREAMED LAYERS", "HERE", "FETCHED",
               "IMAGE"});
  for (const auto& each : list(answer, "containers")) {
    const auto& container = each.as_object();
    const auto reference = text(container, "reference");
    table.row(
        {text(container, "id"), text(container, "namespace"), text(container, "engine"),
         text(container, "reason"),
         fmt::format("{} of {}", number(container, "streamed_layers"), number(container, "layers")),
         here(container), amount(number(container, "bytes_fetched")),
         reference.empty() ? shortened(text(container, "image")) : reference});
  }
  fmt::print("{}", table.to_string());
}

}  // namespace

int node_status(const NodeOptions& options) {
  const auto answer =
      ask_node(options.control, "GET", options.containers ? "/containers" : "/status");
  if (!answer) return report(answer.error());
  if (options.json) {
    fmt::print("{}\n", *answer);
    return 0;
  }
  try {
    const auto parsed = json::parse(*answer);
    if (options.containers) {
      print_containers(parsed.as_object());
    } else {
      print_engine(parsed.as_object());
      print_images(parsed.as_object(), options.layers);
    }
  } catch (const std::exception& problem) {
    return report(
        Error{Code::kInvalid, fmt::format("the node's status cannot be read: {}", problem.what())});
  }
  return 0;
}

}  // namespace runnel::cli
