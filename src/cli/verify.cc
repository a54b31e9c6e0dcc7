#include "convert/verify.h"

#include <boost/json.hpp>
#include <optional>

#include "cli/answer.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/verify.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

json::object describe(const convert::Verified& verified) {
  return {{"platform", verified.platform},
          {"subject", verified.subject.to_string()},
          {"artifact", verified.artifact.to_string()},
          {"generation", verified.generation},
          {"producer", verified.producer},
          {"equal", verified.same_bytes ? "bytes" : "content"},
          {"layers", verified.layers},
          {"chunks", verified.chunks},
          {"bytes", verified.plain_bytes}};
}

Outcome<void> run(const VerifyOptions& options) {
  RUNNEL_TRY(const auto image, ImageName::parse(options.image));
  RUNNEL_TRY(const auto session, Session::open(options.api, image.host));
  convert::VerifyOptions how;
  how.work_directory = options.work_directory;
  how.threads = options.threads;
  std::optional<ProgressLine> line(std::in_place);
  how.progress = [&](const std::string& step) { line->show(step); };
  const auto verified =
      convert::verify_image(session.repository(image.repository), image.target(), how);
  line.reset();
  if (!verified)
    return std::unexpected(with_advice(verified.error(), session.host())
                               .in(fmt::format("{}/{}", session.host(), image.text())));
  json::array all;
  for (const auto& each : *verified) all.push_back(describe(each));
  return show(options.api.output, all);
}

}  // namespace

int verify(const VerifyOptions& options) {
  return exit_code(run(options));
}

}  // namespace runnel::cli
