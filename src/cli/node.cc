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

}  // namespace

int node_clear(const NodeOptions& options) {
  const auto answer = ask_node(options.control, "POST", "/clear");
  if (!answer) return report(answer.error());
  if (options.json) {
    fmt::print("{}\n", *answer);
    return 0;
  }
  boost::system::error_code error;
  const auto parsed = json::parse(*answer, error);
  if (error || !parsed.is_object())
    return report(Error{Code::kInvalid, "the node's answer is no JSON"});
  fmt::print("{} freed\n", amount(number(parsed.get_object(), "freed_bytes")));
  return 0;
}

int node_profile(const NodeOptions& options) {
  const auto reference = typed(oci::Reference::parse(options.image));
  if (!reference) return report(reference.error());
  const json::object request{{"image", reference->to_string()}};
  const auto answer = ask_node(options.control, "POST", "/profile", json::serialize(request));
  if (!answer) return report(answer.error());
  fmt::print("{}\n", *answer);
  return 0;
}

}  // namespace runnel::cli
