#include <boost/json.hpp>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/registry_login.h"
#include "cli/report.h"
#include "cli/secret_input.h"
#include "cli/session.h"
#include "remote/docker_config.h"
#include "remote/docker_login.h"

namespace runnel::cli {

namespace json = boost::json;

int login(const LoginOptions& options) {
  if (options.user.empty()) return exit_code(usage_error("who logs in? Say --user NAME"));
  auto secret = read_secret();
  if (!secret) return report(secret.error());
  const json::object request{
      {"host", options.host}, {"user", options.user}, {"secret", *std::move(secret)}};
  const auto done = ask_node(options.control, "POST", "/login", json::serialize(request));
  if (!done) return report(done.error());
  fmt::print("this node is logged in to {} as {}\n", options.host, options.user);
  return 0;
}

namespace {

// As the registry takes it: only then is it worth keeping.
Outcome<void> try_login(const ApiOptions& api) {
  RUNNEL_TRY(const auto session, Session::open(api));
  remote::ApiCall call;
  call.path = "/v2/";
  call.what = "login";
  call.in_person = true;
  RUNNEL_TRY([[maybe_unused]] const auto answer, session.call(call));
  return {};
}

Outcome<void> login_person(const ApiOptions& options) {
  auto api = options;
  RUNNEL_TRY(api.host, host_of(api, ""));
  if (api.user.empty()) return usage_error("who logs in? Say --username NAME");
  if (api.password.empty()) {
    const auto question = fmt::format("Password of {} at {}: ", api.user, api.host);
    RUNNEL_TRY(api.password, api.password_stdin ? read_secret() : ask_secret(question));
    api.password_stdin = false;
  }
  RUNNEL_DO(try_login(api));
  RUNNEL_TRY(const auto place,
             remote::keep_login(remote::DockerConfig::default_path(), api.host, api.user,
                                remote::Secret(std::string(api.password))));
  fmt::print("Login Succeeded\n");
  fmt::print(stderr, "the password is in {}\n", place);
  return {};
}

Outcome<void> logout_person(const ApiOptions& api) {
  RUNNEL_TRY(const auto host, host_of(api, ""));
  RUNNEL_TRY(const bool was_kept, remote::forget_login(remote::DockerConfig::default_path(), host));
  if (!was_kept) return fail(Code::kNotFound, "nobody is logged in to {}", host);
  fmt::print("logged out of {}\n", host);
  return {};
}

}  // namespace

int registry_login(const ApiOptions& options) {
  return exit_code(login_person(options));
}

int registry_logout(const ApiOptions& options) {
  return exit_code(logout_person(options));
}

int logout(const LoginOptions& options) {
  const json::object request{{"host", options.host}};
  const auto done = ask_node(options.control, "POST", "/logout", json::serialize(request));
  if (!done) return report(done.error());
  fmt::print("this node has no password for {} any more\n", options.host);
  return 0;
}

}  // namespace runnel::cli
