// The lines and codes are those of ACR's client, as far as they are about the registry; that it
// converts images is added.
#include "cli/check_health.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/quote.h"
#include "cli/answer.h"
#include "cli/session.h"
#include "net/url.h"

namespace runnel::cli {

namespace {

constexpr size_t kMaxPing = 64 << 10;

// A step that failed: its code, and what there is to say of it.
struct Trouble {
  std::string code;
  std::string text;
};
using Step = std::expected<std::string, Trouble>;  // the line of a success

std::unexpected<Trouble> trouble(std::string code, std::string text) {
  return std::unexpected(Trouble{std::move(code), std::move(text)});
}

std::string code_of(const Error& error, int status, const char* otherwise) {
  if (status == 403) return "CONNECTIVITY_FORBIDDEN_ERROR";
  if (status == 429) return "CONNECTIVITY_TOOMANYREQUESTS_ERROR";
  const bool tls = error.message.contains("certificate") || error.message.contains("TLS") ||
                   error.message.contains("SSL");
  return tls ? "CONNECTIVITY_SSL_ERROR" : otherwise;
}

Step look_up(const std::string& host) {
  const auto parts = net::split_host_port(host);
  if (!parts) return trouble("LOGIN_SERVER_ERROR", parts.error().message);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(parts->host.c_str(), nullptr, &hints, &found);
  if (failed != 0)
    return trouble("CONNECTIVITY_DNS_ERROR",
                   fmt::format("Failed to look up {}: {}. Is the name right, and does this machine "
                               "reach its DNS server?",
                               quote(parts->host), ::gai_strerror(failed)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  char address[NI_MAXHOST] = {};
  ::getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, nullptr, 0,
                NI_NUMERICHOST);
  return fmt::format("DNS lookup to {} at IP {} : OK", host, address);
}

// Without credentials a registry answers 401 and says where tokens are, or 200.
Step challenge(const RegistryOptions& options, const std::string& host) {
  const RegistryAccess access(options);
  const auto& gateway = *access.gateway();
  const auto endpoint = gateway.hosts.endpoint(host);
  net::ClientRequest request(endpoint.url + "/v2/");
  request.tls = endpoint.tls;
  request.connect_timeout = gateway.options.connect_timeout;
  request.stall_timeout = gateway.options.stall_timeout;
  request.max_redirects = 0;
  const auto url = request.url;
  const auto answer = gateway.client.fetch(std::move(request), kMaxPing);
  if (!answer)
    return trouble(code_of(answer.error(), 0, "CONNECTIVITY_CHALLENGE_ERROR"),
                   fmt::format("Could not reach {}: {}", url, answer.error().message));
  const int status = answer->head.status;
  const bool challenges =
      status == 401 && !answer->head.headers.first("WWW-Authenticate").value_or("").empty();
  if (status != 200 && !challenges)
    return trouble(code_of({Code::kInvalid, ""}, status, "CONNECTIVITY_CHALLENGE_ERROR"),
                   fmt::format("{} answered {}{}: is it a registry?", url, status,
                               status == 401 ? " without a challenge" : ""));
  return fmt::format("Challenge endpoint {} : OK", url);
}

Step log_in(const Session& session) {
  remote::ApiCall call;
  call.path = "/v2/";
  call.scope = remote::Scope::of({"registry:catalog:*"});
  call.what = "log in";
  const auto answer = session.send(call);
  if (!answer)
    return trouble(code_of(answer.error(), 0, "CONNECTIVITY_ACCESS_TOKEN_ERROR"),
                   answer.error().message);
  if (!answer->ok()) {
    const auto error = session.refused(call, *answer).error();
    return trouble(code_of(error, answer->status, "CONNECTIVITY_ACCESS_TOKEN_ERROR"),
                   error.message);
  }
  return fmt::format("Fetch access token for registry '{}' : OK", session.host());
}

Step converts(const Session& session) {
  remote::ApiCall call;
  call.path = "/runnel/v1/_operations?n=1";
  call.what = "operations";
  call.in_person = true;
  const auto answer = session.send(call);
  if (!answer) return trouble("CONVERSION_ERROR", answer.error().message);
  if (!answer->ok())
    return trouble(
        "CONVERSION_ERROR",
        fmt::format("The registry does not convert images; `runnel convert` does it from "
                    "here: {}",
                    session.refused(call, *answer).error().message));
  return fmt::format("Conversion service of registry '{}' : OK", session.host());
}

// Says what came of a step. False when it failed.
bool tell(const Step& step) {
  if (step) {
    fmt::print("{}\n", *step);
    return true;
  }
  warn(fmt::format("{}: {}", step.error().code, step.error().text));
  return false;
}

Result<bool> check(const CheckHealthOptions& options) {
  fmt::print("Runnel version: {}\n", RUNNEL_VERSION);
  RUNNEL_TRY(const auto session, Session::open(options.api));
  const std::vector<std::function<Step()>> steps = {
      [&] { return look_up(session.host()); },
      [&] { return challenge(options.api.registry, session.host()); },
      [&] { return log_in(session); },
      [&] { return converts(session); },
  };
  bool all = true;
  for (const auto& step : steps) {
    if (tell(step())) continue;
    all = false;
    if (!options.ignore_errors) break;
  }
  return all;
}

}  // namespace

int check_health(const CheckHealthOptions& options) {
  const auto healthy = check(options);
  if (!healthy) return exit_code(std::unexpected(healthy.error()));
  return *healthy ? 0 : 1;
}

}  // namespace runnel::cli
