#include "cli/answer.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>

#include "base/fd.h"
#include "cli/report.h"
#include "output/output.h"

namespace runnel::cli {

namespace {

// no-color.org
bool wants_colours() {
  const char* no_colour = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

Result<void> print(const boost::json::value& document, output::Format format) {
  if (format == output::Format::kJsonc && !wants_colours()) format = output::Format::kJson;
  auto written = write_all(STDOUT_FILENO, as_bytes(output::write(document, format)));
  if (!written) return std::unexpected(written.error().in("standard output"));
  return {};
}

}  // namespace

Result<void> show(const OutputOptions& options, const boost::json::value& document) {
  RUNNEL_TRY(const auto format, output::parse_format(options.format));
  if (options.query.empty()) return print(document, format);
  RUNNEL_TRY(const auto query, output::Query::parse(options.query));
  RUNNEL_TRY(const auto picked, query.apply(document));
  return print(picked, format);
}

void warn(std::string_view text) {
  fmt::print(stderr, "{}\n", text);
}

Result<void> confirm(bool yes, const std::string& question) {
  if (yes) return {};
  if (::isatty(STDIN_FILENO) != 1)
    return fail(Code::kDenied, "{} Nobody is at a terminal to say so: use --yes", question);
  while (true) {
    fmt::print(stderr, "{} (y/n): ", question);
    char answer[16] = {};
    if (std::fgets(answer, sizeof answer, stdin) == nullptr || answer[0] == 'n' || answer[0] == 'N')
      return fail(Code::kCancelled, "Operation cancelled.");
    if (answer[0] == 'y' || answer[0] == 'Y') return {};
  }
}

int exit_code(const Outcome<void>& done) {
  return done ? 0 : report(done.error());
}

std::string text_of(const boost::json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

}  // namespace runnel::cli
