#include "convert/convert.h"

#include <boost/json.hpp>
#include <sstream>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/registry_access.h"
#include "cli/report.h"

namespace runnel::cli {

namespace {

constexpr uint64_t kMaxSmallFile = 1 << 20;

Result<convert::Options> conversion_options(const ConvertOptions& options) {
  convert::Options out;
  out.work_directory = options.work_directory;
  out.threads = options.threads;
  if (!options.key_file.empty()) {
    RUNNEL_TRY(const auto pem, read_file(options.key_file, kMaxSmallFile));
    auto key = artifact::Key::parse_private(std::string(as_text(pem)));
    if (!key) return std::unexpected(key.error().in(options.key_file));
    out.key = *std::move(key);
  }
  if (!options.hot_files.empty()) {
    RUNNEL_TRY(const auto bytes, read_file(options.hot_files, kMaxSmallFile));
    std::istringstream lines{std::string(as_text(bytes))};
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty()) out.hot_files.push_back(line);
    }
  }
  if (!options.profile.empty()) {
    RUNNEL_TRY(const auto bytes, read_file(options.profile, artifact::kMaxProfileBytes));
    auto profile = artifact::parse_profile(bytes);
    if (!profile) return std::unexpected(profile.error().in(options.profile));
    out.profile = *std::move(profile);
  }
  return out;
}

void print(const std::vector<convert::Converted>& results, bool json) {
  if (json) {
    boost::json::array list;
    for (const auto& result : results) {
      list.push_back({{"subject", result.subject.to_string()},
                      {"platform", result.platform},
                      {"artifact", result.artifact.to_string()},
                      {"source_bytes", result.source_bytes},
                      {"artifact_bytes", result.artifact_bytes},
                      {"pushed_bytes", result.pushed_bytes},
                      {"changed", result.changed}});
    }
    fmt::print("{}\n", boost::json::serialize(list));
    return;
  }
  for (const auto& result : results) {
    fmt::print("{} {}: artifact {} ({} from {} of layers, {} pushed{})\n", result.platform,
               result.subject, result.artifact, amount(result.artifact_bytes),
               amount(result.source_bytes), amount(result.pushed_bytes),
               result.changed ? "" : "; it was there already");
  }
}

// Before any work, which takes minutes. The image must be there: asking for a push makes a
// repository in some registries.
Result<void> check_rights(const remote::Repository& repository, const oci::Reference& reference,
                          const std::string& artifact_type) {
  const auto image = repository.resolve(reference.target());
  if (!image) return std::unexpected(with_advice(image.error(), reference.host));
  const auto may = convert::check_rights(repository, artifact_type);
  if (may) return {};
  const bool ours = artifact_type == artifact::kAzureArtifactType;
  return std::unexpected(with_push_advice(may.error(), reference, ours)
                             .in("nothing was converted, for it cannot be pushed"));
}

Result<std::vector<convert::Converted>> convert_in_registry(const RegistryAccess& registries,
                                                            const oci::Reference& reference,
                                                            convert::Options conversion) {
  auto type = convert::artifact_type_for(*registries.gateway(), reference.host);
  if (!type) return std::unexpected(with_advice(type.error(), reference.host));
  conversion.artifact_type = *std::move(type);
  auto repository = registries.repository(reference);
  RUNNEL_DO(check_rights(repository, reference, conversion.artifact_type));
  ProgressLine line;
  conversion.progress = [&](const convert::Progress& progress) {
    line.show(progress.total == 0 ? progress.step
                                  : fmt::format("{}: {} of {}", progress.step,
                                                amount(progress.done), amount(progress.total)));
  };
  auto converted = convert::convert_image(repository, reference.target(), conversion);
  if (!converted) return std::unexpected(with_advice(converted.error(), reference.host));
  return converted;
}

Outcome<void> run(const ConvertOptions& options) {
  RUNNEL_TRY(const auto reference, typed(oci::Reference::parse(options.reference)));
  RUNNEL_TRY(auto conversion, conversion_options(options));
  const RegistryAccess registries(options.registry);
  const auto results = convert_in_registry(registries, reference, std::move(conversion));
  if (!results) return std::unexpected(results.error().in(reference.to_string()));
  print(*results, options.json);
  return {};
}

}  // namespace

int convert(const ConvertOptions& options) {
  const auto done = run(options);
  return done ? 0 : report(done.error());
}

}  // namespace runnel::cli
