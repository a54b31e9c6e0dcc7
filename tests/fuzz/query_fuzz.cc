// Any text as a query, and any JSON after its first line as the document. No crash, no endless
// work, and what a query picks can be written in every format.
//
// links: output
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "output/output.h"

namespace json = boost::json;
namespace output = runnel::output;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const auto end = all.find('\n');
  const auto query = output::Query::parse(all.substr(0, end));
  if (!query) {
    RUNNEL_CHECK(query.error().message.starts_with("query: "));
    return 0;
  }
  json::error_code wrong;
  const auto document = end == std::string_view::npos ? json::value(nullptr)
                                                      : json::parse(all.substr(end + 1), wrong);
  if (wrong) return 0;
  const auto answer = query->apply(document);
  if (!answer) {
    RUNNEL_CHECK(answer.error().message.starts_with("query: "));
    return 0;
  }
  for (const auto format : {output::Format::kJsonc, output::Format::kYaml})
    RUNNEL_CHECK(output::write(*answer, format).ends_with('\n'));
  for (const auto format : {output::Format::kTable, output::Format::kTsv}) {
    const auto text = output::write(*answer, format);
    RUNNEL_CHECK(text.empty() || text.ends_with('\n'));
    RUNNEL_CHECK(text.find('\033') == std::string::npos);
  }
  json::parse_options deep;
  deep.max_depth = 1000;
  const auto text = output::write(*answer, output::Format::kJson);
  RUNNEL_CHECK(json::parse(text, {}, deep) == *answer);
  return 0;
}
