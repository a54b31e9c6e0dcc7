// `runnel node why`: asks the node for what it noted of a start, and draws it.
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>

#include "base/durable.h"
#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"
#include "timeline/svg.h"
#include "timeline/text.h"
#include "timeline/timeline.h"
#include "timeline/timeline_json.h"

namespace runnel::cli {

namespace {

namespace json = boost::json;

// Before anything is asked: a file that would not be written is no use after a start.
Outcome<void> check_file(const std::string& path) {
  for (const char* ending : {".svg", ".html", ".json"})
    if (path.empty() || path.ends_with(ending)) return {};
  return usage_error("{}: a picture is a file that ends with .svg or .html, or .json", path);
}

std::string picture(const std::string& path, const timeline::Events& events,
                    const timeline::Timeline& line) {
  if (path.ends_with(".svg")) return timeline::svg_of(events, line);
  if (path.ends_with(".html")) return timeline::html_of(events, line);
  return timeline::json_of(events, line);
}

Outcome<void> why(const NodeWhyOptions& options) {
  RUNNEL_DO(check_file(options.output_file));
  const auto request = json::serialize(json::object{{"name", options.name}});
  RUNNEL_TRY(const auto answer, ask_node(options.control, "POST", "/why", request));
  RUNNEL_TRY(const auto events, timeline::parse_events(answer));
  std::optional<timeline::Us> until;
  if (options.until_s) until = static_cast<timeline::Us>(*options.until_s * 1e6);
  RUNNEL_TRY(const auto line, timeline::analyse(events, until));
  if (!options.output_file.empty()) {
    RUNNEL_DO(replace_file(std::filesystem::absolute(options.output_file),
                           as_bytes(picture(options.output_file, events, line)), 0644));
    fmt::print("{} written\n", options.output_file);
    return {};
  }
  if (options.output == "json") {
    fmt::print("{}\n", timeline::json_of(events, line));
    return {};
  }
  const bool colours = ::isatty(STDOUT_FILENO) == 1 && ::getenv("NO_COLOR") == nullptr;
  fmt::print("{}", timeline::text_of(events, line, {.colours = colours, .rows = options.rows}));
  return {};
}

}  // namespace

int node_why(const NodeWhyOptions& options) {
  const auto done = why(options);
  return done ? 0 : report(done.error());
}

}  // namespace runnel::cli
