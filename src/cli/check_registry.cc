#include <boost/json.hpp>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"

namespace runnel::cli {

namespace {

namespace json = boost::json;

void print_steps(const json::object& answer) {
  for (const auto& each : answer.at("steps").as_array()) {
    const auto& step = each.as_object();
    fmt::print("{} {:<11} {}\n", step.at("ok").as_bool() ? "ok  " : "FAIL",
               std::string(step.at("step").as_string()),
               std::string(step.at("detail").as_string()));
    if (const auto& next = step.at("next").as_string(); !next.empty())
      fmt::print("     next: {}\n", std::string(next));
  }
}

}  // namespace

int node_check_registry(const CheckRegistryOptions& options) {
  const json::object request{{"reference", options.reference}};
  const auto answer =
      ask_node(options.node.control, "POST", "/check-registry", json::serialize(request));
  if (!answer) return report(answer.error());
  try {
    const auto parsed = json::parse(*answer).as_object();
    if (options.node.json) {
      fmt::print("{}\n", *answer);
    } else {
      print_steps(parsed);
    }
    return parsed.at("ok").as_bool() ? 0 : 1;
  } catch (const std::exception& problem) {
    return report(
        Error{Code::kInvalid, fmt::format("the node's answer cannot be read: {}", problem.what())});
  }
}

}  // namespace runnel::cli
