// Commands that have the node work on an image in containerd. The work goes on in the node when the
// command is interrupted, and asking again joins it.
#include <boost/json.hpp>
#include <filesystem>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"
#include "oci/reference.h"

namespace runnel::cli {

namespace {

namespace json = boost::json;

struct Job {
  bool ended = false;
  std::string error;
  uint64_t layers = 0;
  uint64_t layers_here = 0;
  uint64_t bytes = 0;
  uint64_t bytes_total = 0;
};

Result<Job> parse_job(const std::string& text) {
  try {
    const auto object = json::parse(text).as_object();
    return Job{.ended = object.at("ended").as_bool(),
               .error = std::string(object.at("error").as_string()),
               .layers = object.at("layers").to_number<uint64_t>(),
               .layers_here = object.at("layers_here").to_number<uint64_t>(),
               .bytes = object.at("bytes").to_number<uint64_t>(),
               .bytes_total = object.at("bytes_total").to_number<uint64_t>()};
  } catch (const std::exception& problem) {
    return fail(Code::kInvalid, "the node's answer cannot be read: {}", problem.what());
  }
}

// Asks until it has ended.
Outcome<Job> follow(const char* work, const NodeImageOptions& options) {
  RUNNEL_TRY(const auto reference, typed(oci::Reference::parse(options.image)));
  const auto request =
      json::serialize(json::object{{"image", reference.to_string()},
                                   {"address", std::filesystem::absolute(options.address).string()},
                                   {"namespace", options.name_space}});
  const auto path = fmt::format("/{}", work);
  ProgressLine line;
  for (;;) {
    RUNNEL_TRY(const auto answer, ask_node(options.control, "POST", path.c_str(), request));
    RUNNEL_TRY(auto job, parse_job(answer));
    if (job.ended && !job.error.empty()) {
      return fail(Code::kUnavailable, "{}: {}", reference.to_string(), job.error);
    }
    if (job.ended) return job;
    if (job.layers == 0) continue;
    line.show(job.bytes_total == 0
                  ? fmt::format("{} of {} layers", job.layers_here, job.layers)
                  : fmt::format("{} of {} layers, {} of {}", job.layers_here, job.layers,
                                amount(job.bytes), amount(job.bytes_total)));
  }
}

}  // namespace

int node_materialize(const NodeImageOptions& options) {
  const auto job = follow("materialize", options);
  if (!job) return report(job.error());
  fmt::print("{} layers are in containerd, {} brought\n", job->layers, amount(job->bytes));
  return 0;
}

int node_repull(const NodeImageOptions& options) {
  const auto job = follow("repull", options);
  if (!job) return report(job.error());
  if (job->layers_here == 0) {
    fmt::print("it streams already\n");
  } else {
    fmt::print("streams: {} of {} layers were unpacked and are no more\n", job->layers_here,
               job->layers);
  }
  return 0;
}

}  // namespace runnel::cli
