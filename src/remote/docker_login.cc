#include "remote/docker_login.h"

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "remote/credential_helper.h"
#include "remote/docker_auths.h"

namespace runnel::remote {

namespace json = boost::json;

namespace {

constexpr uint64_t kMaxFileBytes = 4 << 20;

// Empty when there is none yet.
Result<json::object> read_config(const std::string& path) {
  if (path.empty())
    return fail(Code::kInvalid, "where to keep it? Neither HOME nor DOCKER_CONFIG is set");
  const auto file = read_file(path, kMaxFileBytes);
  if (!file && file.error().code == Code::kNotFound) return json::object();
  if (!file) return std::unexpected(file.error());
  auto config = parse_docker_config(*file);
  if (!config) return std::unexpected(config.error().in(path));
  return config;
}

Result<void> write_config(const std::string& path, const json::object& config) {
  // A link is docker's or the user's own doing: what it leads to is the file.
  std::error_code none;
  const auto real = std::filesystem::canonical(path, none);
  const auto target = none ? path : real.string();
  RUNNEL_DO(make_directories(std::filesystem::path(target).parent_path().string(), 0700));
  return replace_file(target, as_bytes(json::serialize(config) + "\n"), 0600);
}

Result<void> run_helper(const std::string& name, std::string_view verb, std::string question,
                        const ProgramLimits& limits) {
  RUNNEL_TRY(const auto program, credential_program(name));
  const ProgramCall call{.program = program,
                         .arguments = {std::string(verb)},
                         .environment = {},
                         .question = std::move(question)};
  const auto outcome = run_program(call, limits);
  if (!outcome) return std::unexpected(outcome.error().in(program));
  const auto well = check_ended_well(*outcome);
  if (!well) return std::unexpected(well.error().in(fmt::format("{} {}", program, verb)));
  return {};
}

}  // namespace

Result<std::string> keep_login(const std::string& path, std::string_view host,
                               const std::string& user, const Secret& secret,
                               const ProgramLimits& limits) {
  RUNNEL_TRY(auto config, read_config(path));
  if (const auto helper = helper_for_host(config, host); !helper.empty()) {
    const json::object login{
        {"ServerURL", server_of(host)}, {"Username", user}, {"Secret", secret.reveal()}};
    RUNNEL_DO(run_helper(helper, "store", json::serialize(login), limits));
    return "docker-credential-" + helper;
  }
  set_login(config, host, {.user = user, .secret = secret});
  RUNNEL_DO(write_config(path, config));
  return path;
}

Result<bool> forget_login(const std::string& path, std::string_view host,
                          const ProgramLimits& limits) {
  RUNNEL_TRY(auto config, read_config(path));
  if (const auto helper = helper_for_host(config, host); !helper.empty()) {
    RUNNEL_TRY(const auto kept, ask_credential_helper(helper, server_of(host), limits));
    if (kept) RUNNEL_DO(run_helper(helper, "erase", server_of(host), limits));
    if (kept) return true;
  }
  if (!erase_login(config, host)) return false;
  RUNNEL_DO(write_config(path, config));
  return true;
}

}  // namespace runnel::remote
