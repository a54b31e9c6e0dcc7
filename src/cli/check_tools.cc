#include "cli/check_tools.h"

#include <algorithm>

#include "remote/child_program.h"

namespace runnel::cli {

namespace {

constexpr const char* kPulled = "mcr.microsoft.com/mcr/hello-world:latest";
constexpr auto kPullTime = std::chrono::minutes(2);

Result<std::string> output_of(const std::string& program, std::vector<std::string> arguments,
                              std::chrono::milliseconds time = remote::ProgramLimits().time) {
  remote::ProgramLimits limits;
  limits.time = time;
  const remote::ProgramCall call{
      .program = program, .arguments = std::move(arguments), .environment = {}, .question = {}};
  RUNNEL_TRY(auto outcome, remote::run_program(call, limits));
  RUNNEL_DO(remote::check_ended_well(outcome));
  return std::move(outcome.output);
}

// On one line, without what could do something to a terminal.
std::string line_of(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::unexpected<Trouble> not_installed(const char* code, const char* program) {
  return std::unexpected(Trouble{
      code, fmt::format("{} is not installed, or not in PATH; Runnel does without it", program),
      true});
}

// "Helm version: v3.14.0"
HealthStep version_of(const char* name, const std::string& program,
                      std::vector<std::string> arguments, const std::string& errors) {
  const auto said = output_of(program, std::move(arguments));
  if (!said && said.error().code == Code::kNotFound)
    return not_installed((errors + "_COMMAND_ERROR").c_str(), program.c_str());
  if (!said)
    return trouble(errors + "_VERSION_ERROR", fmt::format("Failed to get the version of {}: {}",
                                                          program, said.error().message));
  const auto version = line_of(*said);
  if (version.empty())
    return trouble(errors + "_VERSION_ERROR", fmt::format("{} says no version", program));
  return fmt::format("{} version: {}", name, version);
}

HealthStep docker_daemon() {
  const auto said = output_of("docker", {"ps", "--quiet"});
  if (said) return "Docker daemon status: available";
  if (said.error().code == Code::kNotFound) return not_installed("DOCKER_COMMAND_ERROR", "docker");
  return trouble("DOCKER_DAEMON_ERROR",
                 fmt::format("Failed to reach the Docker daemon: docker ps: {}. Is it started, and "
                             "may you use it?",
                             said.error().message));
}

HealthStep docker_version() {
  auto step = version_of("Docker", "docker", {"--version"}, "DOCKER");
  // Told by the step before.
  if (!step && step.error().harmless) return std::string();
  return step;
}

HealthStep docker_pull(const std::function<bool()>& may_pull) {
  if (!output_of("docker", {"ps", "--quiet"}) || !may_pull()) return std::string();
  const auto said = output_of("docker", {"pull", "--quiet", kPulled}, kPullTime);
  if (!said)
    return trouble("DOCKER_PULL_ERROR", fmt::format("Failed to pull the sample image {}: {}",
                                                    kPulled, said.error().message));
  return fmt::format("Docker pull of '{}' : OK", kPulled);
}

}  // namespace

std::vector<std::function<HealthStep()>> tool_steps(std::function<bool()> may_pull) {
  return {docker_daemon, docker_version,
          [may_pull = std::move(may_pull)] { return docker_pull(may_pull); },
          [] { return version_of("Helm", "helm", {"version", "--short"}, "HELM"); },
          [] { return version_of("Notary", "notary", {"version"}, "NOTARY"); }};
}

}  // namespace runnel::cli
