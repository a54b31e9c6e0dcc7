// The lines and codes are those of ACR's client; that the registry converts images is added.
#include "cli/check_health.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "base/base64.h"
#include "base/quote.h"
#include "cli/answer.h"
#include "cli/check_tools.h"
#include "cli/health_step.h"
#include "cli/private_address.h"
#include "cli/report.h"
#include "cli/session.h"
#include "net/url.h"
#include "remote/challenge.h"
#include "remote/url.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr size_t kMaxPing = 64 << 10;

std::string code_of(const Error& error, int status, const char* otherwise) {
  if (status == 403) return "CONNECTIVITY_FORBIDDEN_ERROR";
  if (status == 429) return "CONNECTIVITY_TOOMANYREQUESTS_ERROR";
  const bool tls = error.message.contains("certificate") || error.message.contains("TLS") ||
                   error.message.contains("SSL");
  return tls ? "CONNECTIVITY_SSL_ERROR" : otherwise;
}

std::string numbers_of(const addrinfo& found) {
  char address[NI_MAXHOST] = {};
  ::getnameinfo(found.ai_addr, found.ai_addrlen, address, sizeof address, nullptr, 0,
                NI_NUMERICHOST);
  return address;
}

// Whoever is in a virtual network wants to reach the registry without leaving it.
HealthStep routing(const std::string& host, const std::string& vnet, const addrinfo* found) {
  for (; found != nullptr; found = found->ai_next) {
    if (is_private(*found->ai_addr)) continue;
    return trouble("CONNECTIVITY_DNS_ERROR",
                   fmt::format("DNS routing to private endpoint: {} leads to {}, which is no "
                               "private address. Is the private DNS zone linked to {}?",
                               quote(host), numbers_of(*found), quote(vnet)));
  }
  return std::string("DNS routing to private endpoint : OK");
}

HealthStep look_up(const std::string& host, const std::string& vnet) {
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
  const auto said = fmt::format("DNS lookup to {} at IP {} : OK", host, numbers_of(*found));
  if (vnet.empty()) return said;
  const auto routed = routing(host, vnet, found);
  if (!routed) return routed;
  return said + "\n" + *routed;
}

// Asks as nobody.
Result<net::BufferedResponse> ping(const remote::Gateway& gateway, const std::string& host) {
  const auto endpoint = gateway.hosts.endpoint(host);
  net::ClientRequest request(endpoint.url + "/v2/");
  request.tls = endpoint.tls;
  request.connect_timeout = gateway.options.connect_timeout;
  request.stall_timeout = gateway.options.stall_timeout;
  request.max_redirects = 0;
  return gateway.client.fetch(std::move(request), kMaxPing);
}

// Without credentials a registry answers 401 and says where tokens are, or 200.
HealthStep challenge(const RegistryOptions& options, const std::string& host) {
  const RegistryAccess access(options);
  const auto url = access.gateway()->hosts.endpoint(host).url + "/v2/";
  const auto answer = ping(*access.gateway(), host);
  if (!answer)
    return trouble(code_of(answer.error(), 0, "CONNECTIVITY_CHALLENGE_ERROR"),
                   fmt::format("Could not reach {}: {}", url, answer.error().message));
  const int status = answer->head.status;
  const bool challenges =
      status == 401 && !answer->head.headers.first("WWW-Authenticate").value_or("").empty();
  if (status != 200 && !challenges)
    return trouble(code_of({Code::kInvalid, ""}, status, "CONNECTIVITY_CHALLENGE_ERROR"),
                   fmt::format("{} answered {}{}: is it a registry{}?", url, status,
                               status == 401 ? " without a challenge" : "",
                               url.starts_with("http:") ? " without TLS (one on loopback that has "
                                                          "TLS needs --ca-file FILE)"
                                                        : ""));
  return fmt::format("Challenge endpoint {} : OK", url);
}

// Where refresh tokens are, with the question for one; empty when the registry has none.
std::string refresh_url(const net::BufferedResponse& pinged) {
  for (const auto line : pinged.head.headers.all("WWW-Authenticate")) {
    const auto challenges = remote::parse_challenges(line);
    if (!challenges) continue;
    for (const auto& each : *challenges) {
      if (each.scheme != "bearer" || each.parameter("realm").empty()) continue;
      auto url = std::string(each.parameter("realm"));
      if (const auto service = each.parameter("service"); !service.empty())
        url = remote::with_query(std::move(url), "service", service);
      return remote::with_query(std::move(url), "offline_token", "true");
    }
  }
  return {};
}

// What docker keeps after a login instead of the password. A registry without logins has none, and
// who has a token already needs none.
HealthStep refresh_token(const Session& session, const RegistryOptions& options) {
  constexpr const char* kCode = "CONNECTIVITY_REFRESH_TOKEN_ERROR";
  const RegistryAccess access(options);
  const auto& gateway = *access.gateway();
  const auto pinged = ping(gateway, session.host());
  if (!pinged || pinged->head.status != 401) return std::string();
  const auto url = refresh_url(*pinged);
  const auto credential = session.credentials().find(session.host(), "");
  if (!credential) return trouble(kCode, credential.error().message);
  if (url.empty() || !*credential || (*credential)->kind != remote::Credential::Kind::kPassword)
    return std::string();
  const auto endpoint = gateway.hosts.endpoint(session.host());
  if (const auto leads = remote::check_leads_on(endpoint, url); !leads)
    return trouble(kCode, leads.error().message);
  net::ClientRequest request(url);
  const bool own = remote::is_same_origin(url, endpoint.url);
  request.tls = own ? endpoint.tls : endpoint.tls_elsewhere;
  request.total_timeout = gateway.options.token_timeout;
  request.max_redirects = 0;  // nobody but the named realm may see the credential
  request.headers.set("Authorization", "Basic " + to_base64((*credential)->user + ":" +
                                                            (*credential)->secret.reveal()));
  const auto answer = gateway.client.fetch(std::move(request), kMaxPing);
  if (!answer) return trouble(code_of(answer.error(), 0, kCode), answer.error().message);
  const int status = answer->head.status;
  if (status != 200)
    return trouble(code_of({Code::kDenied, ""}, status, kCode),
                   fmt::format("Fetch refresh token for registry '{}': it answered {}: are the "
                               "user and the password right?",
                               session.host(), status));
  json::error_code wrong;
  const auto parsed = json::parse(as_text(answer->body), wrong);
  const auto* object = wrong ? nullptr : parsed.if_object();
  if (object == nullptr || text_of(*object, "refresh_token").empty()) return std::string();
  return fmt::format("Fetch refresh token for registry '{}' : OK", session.host());
}

HealthStep log_in(const Session& session) {
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

HealthStep converts(const Session& session) {
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
bool tell(const HealthStep& step) {
  if (step) {
    if (!step->empty()) fmt::print("{}\n", *step);
    return true;
  }
  warn(fmt::format("{}: {}", step.error().code, step.error().text));
  return step.error().harmless;
}

Outcome<bool> check(const CheckHealthOptions& options) {
  fmt::print("Runnel version: {}\n", RUNNEL_VERSION);
  RUNNEL_TRY(const auto session, Session::open(options.api));
  std::vector<std::function<HealthStep()>> steps = {
      [&] { return look_up(session.host(), options.vnet); },
      [&] { return challenge(options.api.registry, session.host()); },
      [&] { return refresh_token(session, options.api.registry); },
      [&] { return log_in(session); },
      [&] { return converts(session); },
  };
  // Nobody is asked where nobody is: nothing is pulled then.
  const auto may_pull = [&] {
    return options.api.yes || (::isatty(STDIN_FILENO) == 1 &&
                               confirm(false, "Pull a sample image to try docker?").has_value());
  };
  for (auto& step : tool_steps(may_pull)) steps.push_back(std::move(step));
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
  if (!healthy) return report(healthy.error());
  return *healthy ? 0 : 1;
}

}  // namespace runnel::cli
