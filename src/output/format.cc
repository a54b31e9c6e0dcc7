#include "output/format.h"

#include "base/quote.h"
#include "output/write.h"

namespace runnel::output {

Result<Format> parse_format(std::string_view name) {
  static constexpr std::pair<std::string_view, Format> kNames[] = {
      {"json", Format::kJson}, {"jsonc", Format::kJsonc}, {"table", Format::kTable},
      {"tsv", Format::kTsv},   {"yaml", Format::kYaml},
  };
  for (const auto& [known, format] : kNames)
    if (name == known) return format;
  return fail(Code::kInvalid, "there is no output format {}: json, jsonc, table, tsv, yaml",
              quote(name));
}

std::string write(const boost::json::value& document, Format format) {
  switch (format) {
    case Format::kJson: return write_json(document, false);
    case Format::kJsonc: return write_json(document, true);
    case Format::kTable: return write_table(document);
    case Format::kTsv: return write_lines(document);
    case Format::kYaml: return write_yaml(document);
  }
  return {};
}

}  // namespace runnel::output
