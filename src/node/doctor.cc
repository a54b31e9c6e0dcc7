#include "node/doctor.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>

#include "node/doctor_parts.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

const char* to_string(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk: return "OK";
    case Finding::Level::kWarning: return "WARN";
    case Finding::Level::kFailure: return "FAIL";
  }
  return "FAIL";
}

void append(Findings& all, Findings more) {
  std::ranges::move(more, std::back_inserter(all));
}

}  // namespace

Findings examine(const DoctorOptions& options) {
  Findings all = examine_permissions();
  if (::geteuid() == 0) append(all, examine_kernel(options.config));
  append(all, examine_disk(options.config));
  append(all, examine_containerd(options));
  append(all, examine_node(options.config));
  append(all, examine_registries(options));
  return all;
}

bool has_failure(const Findings& findings) {
  return std::ranges::any_of(findings,
                             [](const auto& one) { return one.level == Finding::Level::kFailure; });
}

std::string to_text(const Findings& findings) {
  std::string text;
  for (const auto& one : findings) {
    text += fmt::format("{:<5} {}: {}\n", to_string(one.level), one.subject, one.found);
    if (!one.advice.empty()) text += fmt::format("      {}\n", one.advice);
  }
  return text;
}

std::string to_json(const Findings& findings) {
  json::array list;
  for (const auto& one : findings) {
    list.push_back({{"level", to_string(one.level)},
                    {"subject", one.subject},
                    {"found", one.found},
                    {"advice", one.advice}});
  }
  return json::serialize(
      json::object{{"healthy", !has_failure(findings)}, {"findings", std::move(list)}});
}

}  // namespace runnel::node
