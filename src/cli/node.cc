#include <boost/json.hpp>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"
#include "oci/reference.h"

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

void print_cache(const json::object& cache) {
  fmt::print("cache {} of {}, {} free (at least {}): {}\n", amount(number(cache, "bytes")),
             amount(number(cache, "max_bytes")), amount(number(cache, "free_bytes")),
             amount(number(cache, "min_free_bytes")), text(cache, "state"));
  if (number(cache, "damaged_chunks") > 0) {
    fmt::print("  {} damaged chunks were found on disk, {} repaired\n",
               number(cache, "damaged_chunks"), number(cache, "repaired_chunks"));
  }
}

void print_status(const json::object& status) {
  fmt::print("engine {}\n", text(status, "engine"));
  for (const auto& trial : status.at("engine_trial").as_array()) {
    const auto& way = trial.as_object();
    fmt::print("  {:<12} {}\n", text(way, "way"), text(way, "reason"));
  }
  fmt::print("recovery {} ({})\n", text(status, "recovery"), text(status, "recovery_reason"));
  print_cache(status.at("cache").as_object());
  for (const auto& each : status.at("images").as_array()) {
    const auto& image = each.as_object();
    fmt::print("{}\n  {}{}{}, {} fetched\n", text(image, "image"), text(image, "reason"),
               text(image, "detail").empty() ? "" : ": ", text(image, "detail"),
               amount(number(image, "bytes_fetched")));
    if (const auto until = text(image, "readable_until"); !until.empty())
      fmt::print("  readable until {}: it hangs on a token that nobody can renew\n", until);
    for (const auto& one : image.at("layers").as_array()) {
      const auto& layer = one.as_object();
      fmt::print("  {} {} of {} here{}\n", text(layer, "digest").substr(0, 19),
                 amount(number(layer, "bytes_present")), amount(number(layer, "bytes")),
                 layer.at("complete").as_bool() ? ", complete" : "");
    }
  }
}

}  // namespace

int node_status(const NodeOptions& options) {
  const auto answer = ask_node(options.control, "GET", "/status");
  if (!answer) return report(answer.error());
  if (options.json) {
    fmt::print("{}\n", *answer);
    return 0;
  }
  try {
    print_status(json::parse(*answer).as_object());
  } catch (const std::exception& problem) {
    return report(
        {Code::kInvalid, fmt::format("the node's status cannot be read: {}", problem.what())});
  }
  return 0;
}

int node_clear(const NodeOptions& options) {
  const auto answer = ask_node(options.control, "POST", "/clear");
  if (!answer) return report(answer.error());
  if (options.json) {
    fmt::print("{}\n", *answer);
    return 0;
  }
  boost::system::error_code error;
  const auto parsed = json::parse(*answer, error);
  if (error || !parsed.is_object()) return report({Code::kInvalid, "the node's answer is no JSON"});
  fmt::print("{} freed\n", amount(number(parsed.get_object(), "freed_bytes")));
  return 0;
}

int node_profile(const NodeOptions& options) {
  const auto reference = oci::Reference::parse(options.image);
  if (!reference) return report(reference.error());
  const json::object request{{"image", reference->to_string()}};
  const auto answer = ask_node(options.control, "POST", "/profile", json::serialize(request));
  if (!answer) return report(answer.error());
  fmt::print("{}\n", *answer);
  return 0;
}

}  // namespace runnel::cli
