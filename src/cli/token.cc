#include "cli/token.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/base64.h"
#include "base/quote.h"
#include "cli/report.h"
#include "cli/secret_input.h"
#include "cli/table.h"
#include "net/client.h"
#include "net/url.h"
#include "oci/reference.h"
#include "remote/docker_config.h"
#include "remote/hosts.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr std::string_view kRoot = "/runnel/v1/";
constexpr size_t kMaxAnswer = 16 << 20;

// Who asks: the name of the command line with the password of standard input, or whom docker's
// configuration knows for this registry. Nothing else is tried: tokens cannot make tokens.
Result<std::string> authorization(const TokenOptions& options) {
  if (!options.user.empty()) {
    RUNNEL_TRY(const auto secret, read_secret());
    return "Basic " + to_base64(options.user + ":" + secret);
  }
  remote::DockerConfig config(remote::DockerConfig::default_path());
  RUNNEL_TRY(const auto found, config.find(options.host, ""));
  if (!found || found->user.empty())
    return fail(Code::kDenied,
                "who are you for {}? Log in with docker, podman or skopeo, or say --user NAME and "
                "give the password on standard input",
                options.host);
  return "Basic " + to_base64(found->user + ":" + found->secret.reveal());
}

// The messages of an error of the API.
std::string reason_of(Bytes body) {
  json::error_code failed;
  const auto parsed = json::parse(as_text(body), failed);
  if (failed || !parsed.is_object()) return {};
  const auto* errors = parsed.get_object().if_contains("errors");
  if (errors == nullptr || !errors->is_array()) return {};
  std::string all;
  for (const auto& each : errors->get_array()) {
    const auto* entry = each.if_object();
    const auto* message = entry != nullptr ? entry->if_contains("message") : nullptr;
    if (message != nullptr && message->is_string())
      all += fmt::format(": {}", quote(std::string_view(message->get_string())));
  }
  return all;
}

// One registry, asked as one person.
class TokenApi {
 public:
  static Result<TokenApi> open(const TokenOptions& options) {
    TokenApi api(options);
    RUNNEL_TRY(api.authorization_, authorization(options));
    return api;
  }

  Result<json::object> call(const std::string& method, std::string_view kind,
                            std::string_view name = {}, const json::object& body = {}) {
    const auto path =
        fmt::format("{}{}{}{}", kRoot, kind, name.empty() ? "" : "/", net::percent_encode(name));
    net::ClientRequest request(method, base_ + path);
    request.origin_headers.add("Authorization", authorization_);
    request.max_redirects = 0;
    request.stall_timeout = std::chrono::seconds(options_.registry.timeout_s);
    if (method == "PUT" || method == "POST") {
      request.headers.add("Content-Type", "application/json");
      request.body = json::serialize(body);
    }
    net::Client::Options client_options;
    client_options.ca_file = options_.registry.ca_file;
    net::Client client(client_options);
    RUNNEL_TRY(const auto answer, client.fetch(std::move(request), kMaxAnswer));
    if (answer.head.status < 200 || answer.head.status > 299)
      return fail(answer.head.status == 404 ? Code::kNotFound : Code::kDenied,
                  "{}: {} {} was answered with {}{}", options_.host, method, path,
                  answer.head.status, reason_of(answer.body));
    if (answer.body.empty()) return json::object();
    json::error_code failed;
    auto parsed = json::parse(as_text(answer.body), failed);
    if (failed || !parsed.is_object())
      return fail(Code::kInvalid, "{}: the answer to {} {} is no JSON object", options_.host,
                  method, path);
    return std::move(parsed.get_object());
  }

 private:
  explicit TokenApi(const TokenOptions& options) : options_(options) {
    remote::HostSettings settings;
    if (options.registry.plain_http) settings.plain_http = true;
    if (!options.registry.plain_http && !options.registry.ca_file.empty())
      settings.plain_http = false;
    base_ = remote::Hosts(settings).endpoint(options.host).url;
  }

  TokenOptions options_;
  std::string base_;
  std::string authorization_;
};

std::string text(const json::object& object, std::string_view name) {
  const auto* found = object.if_contains(name);
  if (found == nullptr || !found->is_string()) return "-";
  return std::string(found->get_string());
}

// The entries of a member that is a list of objects; empty for anything else.
std::vector<json::object> entries(const json::object& object, std::string_view name) {
  std::vector<json::object> all;
  const auto* found = object.if_contains(name);
  if (found == nullptr || !found->is_array()) return all;
  for (const auto& each : found->get_array())
    if (each.is_object()) all.push_back(each.get_object());
  return all;
}

std::string passwords_of(const json::object& token) {
  const auto* credentials = token.if_contains("credentials");
  if (credentials == nullptr || !credentials->is_object()) return "-";
  std::string all;
  for (const auto& each : entries(credentials->get_object(), "passwords")) {
    const auto expiry = text(each, "expiry");
    all += fmt::format("{}{}{}", all.empty() ? "" : ", ", text(each, "name"),
                       expiry == "-" ? "" : " until " + expiry);
  }
  return all.empty() ? "-" : all;
}

std::string actions_of(const json::object& map) {
  std::string all;
  const auto* found = map.if_contains("actions");
  if (found == nullptr || !found->is_array()) return "-";
  for (const auto& each : found->get_array())
    if (each.is_string())
      all += (all.empty() ? "" : " ") + std::string(std::string_view(each.get_string()));
  return all;
}

Result<void> put_scope_map(TokenApi& api, const TokenOptions& options) {
  json::object body;
  body["actions"] = json::array(options.actions.begin(), options.actions.end());
  RUNNEL_TRY([[maybe_unused]] const auto made, api.call("PUT", "_scope-maps", options.name, body));
  return {};
}

Result<void> put_token(TokenApi& api, const TokenOptions& options, const json::object& body) {
  RUNNEL_TRY([[maybe_unused]] const auto made, api.call("PUT", "_tokens", options.name, body));
  return {};
}

// On standard output nothing but the password, so that a script can keep it.
Result<void> print_password(TokenApi& api, const TokenOptions& options) {
  json::object body;
  body["name"] = options.second ? "password2" : "password1";
  if (options.days) body["days"] = *options.days;
  RUNNEL_TRY(const auto made, api.call("POST", "_tokens", options.name + ":generate", body));
  fmt::print("{}\n", options.json ? json::serialize(made) : text(made, "value"));
  return {};
}

Result<void> list(const TokenOptions& options, std::string_view kind, std::string_view member,
                  Table table, Table::Row (*row)(const json::object&)) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  RUNNEL_TRY(const auto answer, api.call("GET", kind));
  if (options.json) {
    fmt::print("{}\n", json::serialize(answer));
    return {};
  }
  for (const auto& each : entries(answer, member)) table.row(row(each));
  fmt::print("{}", table.to_string());
  return {};
}

Result<void> create(const TokenOptions& options) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  if (!options.actions.empty()) RUNNEL_DO(put_scope_map(api, options));
  json::object body;
  body["scopeMap"] = options.actions.empty() ? options.scope_map : options.name;
  RUNNEL_DO(put_token(api, options, body));
  return print_password(api, options);
}

Result<void> password(const TokenOptions& options) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  return print_password(api, options);
}

// Looked at first: PUT would make a token that is not there.
Result<void> set_status(const TokenOptions& options, std::string_view status) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  RUNNEL_TRY([[maybe_unused]] const auto found, api.call("GET", "_tokens", options.name));
  json::object body;
  body["status"] = status;
  return put_token(api, options, body);
}

Result<void> remove(const TokenOptions& options, std::string_view kind) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  RUNNEL_TRY([[maybe_unused]] const auto gone, api.call("DELETE", kind, options.name));
  return {};
}

Result<void> set_scope_map(const TokenOptions& options) {
  RUNNEL_TRY(auto api, TokenApi::open(options));
  return put_scope_map(api, options);
}

int exit_code(const Result<void>& done) {
  return done ? 0 : report(done.error());
}

}  // namespace

int token_list(const TokenOptions& options) {
  return exit_code(list(options, "_tokens", "tokens",
                        Table({"TOKEN", "STATUS", "SCOPE MAP", "PASSWORDS"}),
                        [](const json::object& token) -> Table::Row {
                          return {text(token, "name"), text(token, "status"),
                                  text(token, "scopeMap"), passwords_of(token)};
                        }));
}

int token_create(const TokenOptions& options) {
  return exit_code(create(options));
}

int token_password(const TokenOptions& options) {
  return exit_code(password(options));
}

int token_enable(const TokenOptions& options) {
  return exit_code(set_status(options, "enabled"));
}

int token_disable(const TokenOptions& options) {
  return exit_code(set_status(options, "disabled"));
}

int token_delete(const TokenOptions& options) {
  return exit_code(remove(options, "_tokens"));
}

int scope_map_list(const TokenOptions& options) {
  return exit_code(list(options, "_scope-maps", "scopeMaps",
                        Table({"SCOPE MAP", "TYPE", "ACTIONS"}),
                        [](const json::object& map) -> Table::Row {
                          return {text(map, "name"), text(map, "type"), actions_of(map)};
                        }));
}

int scope_map_set(const TokenOptions& options) {
  return exit_code(set_scope_map(options));
}

int scope_map_delete(const TokenOptions& options) {
  return exit_code(remove(options, "_scope-maps"));
}

}  // namespace runnel::cli
